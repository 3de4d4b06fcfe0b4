"""Activation checkpointing changes no number, and every backbone has stages for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import network
from utils.training import memory
from utils.training.memory import recompute

NETWORKS = [name for name in network.names() if "lite" not in name]
OF_TIMM = ["sfnet_timm:tf_efficientnet_lite0", "sfnet_timm:resnet18d", "fpn_timm:pvt_v2_b0"]


def trained(net: nn.Module) -> dict[str, Tensor]:
    """Weights, statistics and gradients after one step."""
    torch.manual_seed(0)
    outputs = net.train()(torch.randn(2, 3, 64, 64))
    outputs["main"].square().mean().backward()
    gradients = {f"{name}.grad": weights.grad for name, weights in net.named_parameters()
                 if weights.grad is not None}
    return {**net.state_dict(), **gradients}


@pytest.mark.parametrize("arch", ["sfnet_dfnetv1", "sfnet_stdc1", *OF_TIMM])
def test_recomputing_changes_no_number(arch: str) -> None:
    torch.manual_seed(0)
    plain = network.build(arch, num_classes=5)
    torch.manual_seed(0)
    again = network.build(arch, num_classes=5)
    recompute(again.backbone)
    expected, actual = trained(plain), trained(again)
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        torch.testing.assert_close(actual[name], values, msg=name)


@pytest.mark.parametrize("arch", [*NETWORKS, *OF_TIMM])
def test_each_stage_of_every_backbone_is_recomputed(
        arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Any] = []

    def checkpoint(forward: Any, *features: Any, **_: Any) -> Any:
        stages.append(forward)
        return forward(*features)

    net = network.build(arch, num_classes=5).to("meta")
    statistics = {name: buffer._version for name, buffer in net.named_buffers()}
    count = recompute(net.backbone)
    assert count >= 4 and net.training
    assert {name: buffer._version for name, buffer in net.named_buffers()} == statistics
    monkeypatch.setattr(memory, "checkpoint", checkpoint)
    net.backbone(torch.zeros(2, 3, 64, 64, device="meta"))
    assert len(stages) == len(set(stages)) == count


def test_a_backbone_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="--recompute finds no stages in Conv2d"):
        recompute(nn.Conv2d(3, 4, 1))
