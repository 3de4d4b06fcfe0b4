"""Frozen batch norms and a frozen backbone stay as they were, through training mode and distribution."""
from __future__ import annotations

import pytest
import torch
from torch import nn

import network
from network.model import SceneParser


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trained(net: SceneParser, images: torch.Tensor) -> SceneParser:
    optimizer = torch.optim.SGD([each for each in net.parameters() if each.requires_grad], lr=0.1)
    net.train()
    net(images)["main"].square().mean().backward()
    optimizer.step()
    return net


def changed(net: SceneParser, before: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


def test_frozen_norms_keep_statistics_scale_and_shift(images: torch.Tensor) -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(norms=True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    norms = {f"{path}.{key}" for path, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)
             for key in module.state_dict()}
    moved = changed(trained(net, images), before)
    assert moved and not moved & norms


def test_a_frozen_backbone_stays_while_the_head_learns(images: torch.Tensor) -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(backbone=True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    moved = changed(trained(net, images), before)
    assert moved and all(key.startswith("head.") for key in moved)


def test_what_no_loss_reads_is_out_of_training(images: torch.Tensor) -> None:
    net = network.build("decouple_resnet50", 3)
    net.freeze(training_only=True)
    net.train()
    net(images)["main"].square().mean().backward()
    without = {name for name, each in net.named_parameters() if each.grad is None}
    assert without == {name for name, each in net.named_parameters() if not each.requires_grad}
    assert {name.split(".")[1] for name in without} == {"edge_out", "dsn_seg_body"}


def test_synchronized_norms_stay_frozen() -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(norms=True)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net.train()
    norms = [module for module in net.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms and not any(module.training for module in norms)
    assert not any(each.requires_grad for module in norms for each in module.parameters())


def test_nothing_is_frozen_unless_asked() -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze()
    net.train()
    assert all(module.training for module in net.modules()) and all(each.requires_grad for each in net.parameters())
