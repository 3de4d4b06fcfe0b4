"""Parameter groups: which parameters decay, and at which rate they learn."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import optimizer
from optimizer.groups import layer_depths


class Network(nn.Module):
    """A backbone of a stem and two blocks, and a head, with the names of real networks."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({
            "stem": nn.Linear(2, 2), "layer1": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})
        self.head = nn.Linear(2, 2)


def build(net: nn.Module, **changes: Any) -> torch.optim.Optimizer:
    options = optimizer.OptimizerOptions(**{"lr": 0.1, "weight_decay": 0.01, **changes})
    return optimizer.build(net, options)


def group_rates(**changes: Any) -> dict[str, float]:
    net = Network()
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {
        names[id(parameter)]: group["lr"]
        for group in build(net, **changes).param_groups
        for parameter in group["params"]
    }


def test_backbone_and_head_have_separate_rates() -> None:
    rates = group_rates(backbone_lr_factor=0.1, head_lr_factor=2.0)
    assert {name: rate for name, rate in rates.items() if name.startswith("head")} == pytest.approx(
        {"head.weight": 0.2, "head.bias": 0.2})
    assert set(rates.values()) == {0.1 * 0.1, 0.1 * 2.0}


def test_layers_nearer_to_the_input_have_smaller_rates() -> None:
    rates = group_rates(layer_decay=0.5)
    layers = ("head", "backbone.layer1.1", "backbone.layer1.0", "backbone.stem")
    assert [rates[f"{layer}.weight"] for layer in layers] == pytest.approx(
        [0.1, 0.05, 0.025, 0.0125]
    )


@pytest.mark.parametrize(
    ("names", "depths"),
    [
        (
            [
                "b.stem.0.weight",
                "b.layer1.0.conv1.weight",
                "b.layer1.0.downsample.0.weight",
                "b.layer1.1.conv1.weight",
                "b.layer2.0.conv1.weight",
            ],
            [1, 2, 2, 3, 4],
        ),
        (
            [
                "b.model.pos_embed",
                "b.model.patch_embed.proj.weight",
                "b.model.blocks.0.mlp.fc1.weight",
                "b.model.blocks.1.attn.qkv.weight",
                "b.model.norm.weight",
            ],
            [0, 0, 1, 2, 2],
        ),
        (
            [
                "b.model.stem_0.weight",
                "b.model.stages_0.blocks.0.norm.weight",
                "b.model.stages_0.blocks.1.norm.weight",
                "b.model.stages_1.downsample.1.weight",
                "b.model.stages_1.blocks.0.norm.weight",
            ],
            [0, 1, 2, 3, 4],
        ),
    ],
)
def test_a_layer_is_a_block_of_a_stage(names: list[str], depths: list[int]) -> None:
    assert list(layer_depths(names).values()) == depths


def test_frozen_parameters_are_in_no_group() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    net[0].requires_grad_(False)
    assert sorted(
        len(parameter) for group in build(net).param_groups for parameter in group["params"]
    ) == [3, 3]
    with pytest.raises(ValueError, match="nothing to train"):
        build(net.requires_grad_(False))


def test_norms_and_biases_decay_only_when_asked() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    for decay_norms, expected in ((False, 0.0), (True, 0.01)):
        matrices, vectors = build(net, decay_norms=decay_norms).param_groups
        assert [parameter.ndim for parameter in matrices["params"]] == [4] and matrices[
            "weight_decay"
        ] == 0.01
        assert len(vectors["params"]) == 3 and vectors["weight_decay"] == expected
