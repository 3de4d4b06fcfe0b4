from __future__ import annotations

import pytest
import torch
from torch import nn

import network
from network.backbones.resnet import DeepStemResNet, resnet18, resnet50, resnet101
from network.layers import BasicBlock


@torch.no_grad()
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_output_stride_changes_no_key(stride: int) -> None:
    net = network.build("sfnet_resnet18", 19, output_stride=stride)
    assert net.state_dict().keys() == network.build("sfnet_resnet18", 19).state_dict().keys()
    maps = net.backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert [64 // features.shape[2] for features in maps] == [4, 8, min(16, stride), stride]


@pytest.mark.parametrize("stride", [8, 32])
def test_stages_3_and_4_are_dilated_at_each_output_stride(stride: int) -> None:
    backbone = resnet18(stride)
    dilations = [stage[0].conv2.dilation[0]
                 for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)]
    assert dilations == [1, 1, 2, 4]


def test_another_output_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="output_stride=64: a ResNet's is 8, 16 or 32"):
        DeepStemResNet(BasicBlock, (1, 1, 1, 1), output_stride=64)


@pytest.mark.parametrize(("build", "convolutions", "channels"), [
    # 3 of the stem, 2 or 3 a block, and the projection of each stage's first block
    (resnet18, 3 + 2 * 8 + 4, (64, 128, 256, 512)),
    (resnet50, 3 + 3 * 16 + 4, (256, 512, 1024, 2048)),
    (resnet101, 3 + 3 * 33 + 4, (256, 512, 1024, 2048)),
])
def test_depth_and_widths_are_those_of_the_paper(build: type[DeepStemResNet], convolutions: int,
                                                 channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build()
    assert sum(isinstance(module, nn.Conv2d) for module in backbone.modules()) == convolutions
    assert backbone.out_channels == channels
