from __future__ import annotations

import pytest
import torch
from torch import Tensor

import network
from network.training_heads import TrainingHeads

# each head, and backbones of several strides and numbers of maps
NAMES = ("sfnet_dfnetv1", "sfnet_lite_stdc1", "fpn_dfnetv1", "pspnet_resnet18",
         "deeplabv3plus_resnet18", "decouple_resnet50", "dfsegnet_dfnetv1")


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_projection_has_the_channels_of_the_teacher() -> None:
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 2, 2)]
    heads = TrainingHeads((4, 6), feature_channels=10)
    assert heads(maps)["feature"].shape == (2, 10, 2, 2)
    # a 1x1 convolution of the coarsest map
    expected = torch.nn.functional.conv2d(maps[1], heads.projection.weight, heads.projection.bias)
    assert torch.equal(heads(maps)["feature"], expected)


def test_without_parts_there_are_no_outputs() -> None:
    assert TrainingHeads((4, 6))([]) == {}
    net = network.build("sfnet_dfnetv1", 3)
    net.add_training_heads(feature_channels=None)
    assert net.training_heads is None


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_the_outputs_in_training_mode_only(name: str) -> None:
    net = network.build(name, 3)
    plain = net.eval()(images())["main"]
    net.add_training_heads(boundary=True, feature_channels=7)
    inferred = net(images())
    assert set(inferred) == {"main"} and torch.equal(inferred["main"], plain)
    net.train()
    maps = net.backbone(images())
    outputs = net(images(), upsample=False)
    assert outputs["feature"].shape == (2, 7, *maps[-1].shape[2:])
    assert outputs["boundary"].shape == (2, 1, *maps[0].shape[2:])


def test_they_leave_no_trace_in_a_network_for_inference() -> None:
    net = network.build("sfnet_dfnetv1", 3, deep_supervision=True)
    plain = set(network.build("sfnet_dfnetv1", 3).state_dict())
    net.add_training_heads(boundary=True, feature_channels=7)
    assert {key.split(".")[0] for key in net.state_dict()} == {"backbone", "head", "training_heads"}
    net.drop_training_only()
    assert set(net.state_dict()) == plain
    net.add_training_heads(boundary=True)
    fused = network.fuse_for_inference(net)
    assert fused.training_heads is None and net.training_heads is not None
