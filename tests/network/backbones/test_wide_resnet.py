from __future__ import annotations

import torch
from torch import nn

from network.backbones.wide_resnet import PreActivationBlock, WideResNet38


@torch.no_grad()
def test_a_block_of_one_shape_adds_its_input() -> None:
    block = PreActivationBlock(4, (4, 4), stride=1, dilation=1, dropout=0).eval()
    features = torch.randn(1, 4, 5, 7)
    assert block.proj_conv is None
    torch.testing.assert_close(block(features), block.convs(block.bn1(features)) + features)


@torch.no_grad()
def test_a_block_of_another_shape_projects_the_activated_input() -> None:
    block = PreActivationBlock(4, (6, 6), stride=2, dilation=1, dropout=0).eval()
    features = torch.randn(1, 4, 6, 8)
    activated = block.bn1(features)
    assert block.proj_conv is not None
    expected = block.convs(activated) + block.proj_conv(activated)
    torch.testing.assert_close(block(features), expected)
    assert expected.shape == (1, 6, 3, 4)


def test_three_widths_make_a_bottleneck_with_dropout_before_its_last_convolution() -> None:
    block = PreActivationBlock(4, (2, 4, 8), stride=1, dilation=4, dropout=0.3)
    names = list(block.convs._modules)
    assert names == ["conv1", "bn2", "conv2", "bn3", "dropout", "conv3"]
    geometry = [(module.kernel_size[0], module.dilation[0]) for module in block.convs
                if isinstance(module, nn.Conv2d)]
    assert geometry == [(1, 1), (3, 4), (1, 1)]


def test_it_has_38_layers() -> None:
    with torch.device("meta"):
        backbone = WideResNet38()
    convolutions = [name for name, module in backbone.named_modules()
                    if isinstance(module, nn.Conv2d) and "proj_conv" not in name]
    # The classifier that the name counts is not part of a backbone.
    assert len(convolutions) == 37
