from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import network
from network.model import Head, SceneParser


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trained(net: SceneParser, images: Tensor) -> SceneParser:
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    net.train()
    net(images)["main"].square().mean().backward()
    optimizer.step()
    return net


def changed(net: SceneParser, before: dict[str, Tensor]) -> set[str]:
    return {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


def copied(net: SceneParser) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def test_frozen_norms_keep_statistics_scale_and_shift(images: Tensor) -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(norms=True)
    before = copied(net)
    norms = {f"{path}.{key}" for path, module in net.named_modules()
             if isinstance(module, nn.BatchNorm2d) for key in module.state_dict()}
    moved = changed(trained(net, images), before)
    assert moved and not moved & norms


def test_norms_of_outputs_that_only_the_training_has_are_not_frozen(images: Tensor) -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.add_training_heads(boundary=True)
    net.freeze(norms=True)
    before = copied(net)
    net.train()
    net(images)["boundary"].square().mean().backward()
    moved = changed(net, before)
    assert moved == {f"training_heads.boundary.0.1.{key}" for key in
                     ("running_mean", "running_var", "num_batches_tracked")}
    assert all(parameter.grad is not None for parameter in net.training_heads.parameters())


def test_a_frozen_backbone_stays_while_the_head_learns(images: Tensor) -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(backbone=True)
    before = copied(net)
    moved = changed(trained(net, images), before)
    assert moved and all(key.startswith("head.") for key in moved)


def test_parts_that_no_loss_reads_are_out_of_training(images: Tensor) -> None:
    net = network.build("decouple_resnet50", 3)
    net.freeze(training_only=True)
    net.train()
    net(images)["main"].square().mean().backward()
    without = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in net.named_parameters()
                       if not parameter.requires_grad}
    assert {name.split(".")[1] for name in without} == {"edge_out", "dsn_seg_body"}


def test_synchronized_norms_stay_frozen() -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze(norms=True)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net.train()
    norms = [module for module in net.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms and not any(module.training for module in norms)
    assert not any(parameter.requires_grad for module in norms for parameter in module.parameters())


def test_nothing_is_frozen_by_default() -> None:
    net = network.build("sfnet_dfnetv1", 3)
    net.freeze()
    net.train()
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


class TwoClassifiers(Head):
    """A head with a classifier of three layers, a list of two auxiliary ones, and an absent one."""

    classifiers = ("main", "dsn", "absent")
    training_only = ("dsn", "edge")

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))
        self.dsn = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU()) for _ in range(2))
        self.edge = nn.Conv2d(4, 1, 1)
        self.absent = None


def test_a_heads_classifiers_are_the_last_convolutions_of_the_declared_parts() -> None:
    assert TwoClassifiers().classifier_names() == ["main.2", "dsn.0.0", "dsn.1.0"]


def test_training_only_parts_are_listed_and_removed() -> None:
    head = TwoClassifiers()
    assert head.training_only_parts() == [head.dsn, head.edge]
    head.drop_training_only()
    assert head.training_only_parts() == []
    assert {key.split(".")[0] for key in head.state_dict()} == {"main"}
