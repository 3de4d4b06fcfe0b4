from __future__ import annotations

import pytest
import torch
from torch import nn

from network.layers import (
    BasicBlock,
    Bottleneck,
    auxiliary_classifier,
    conv_bn_relu,
    resize,
)


def test_resizing_keeps_the_corners() -> None:
    row = torch.tensor([[[[0.0, 1.0, 4.0]]]])
    # Five positions at 0, 0.5, 1, 1.5 and 2 of the three pixels.
    torch.testing.assert_close(resize(row, (1, 5))[0, 0, 0], torch.tensor([0, 0.5, 1, 2.5, 4]))


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 4)])
def test_a_convolution_of_stride_1_keeps_the_size(kernel_size: int, dilation: int) -> None:
    module = conv_bn_relu(3, 5, kernel_size, dilation=dilation)
    output = module(torch.randn(2, 3, 9, 11))
    assert output.shape == (2, 5, 9, 11)
    assert output.min() == 0


@torch.no_grad()
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_whose_last_norm_is_zero_is_its_shortcut(
        block: type[BasicBlock | Bottleneck]) -> None:
    module = block(4 * block.expansion, 4).eval()
    last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
    nn.init.zeros_(last.weight)
    features = torch.randn(1, 4 * block.expansion, 5, 7)
    torch.testing.assert_close(module(features), features.relu())


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_of_stride_2_projects_its_shortcut(block: type[BasicBlock | Bottleneck]) -> None:
    module = block(6, 4, stride=2, downsample=True)
    assert module(torch.randn(2, 6, 8, 10)).shape == (2, 4 * block.expansion, 4, 5)


def test_an_auxiliary_classifier_drops_whole_channels() -> None:
    classifier = auxiliary_classifier(6, 4, 3)
    assert classifier(torch.randn(2, 6, 5, 7)).shape == (2, 3, 5, 7)
    assert [type(module).__name__ for module in classifier] == [
        "Conv2d", "BatchNorm2d", "ReLU", "Dropout2d", "Conv2d"]
