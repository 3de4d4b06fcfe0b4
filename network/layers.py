"""The layers and residual blocks that the networks share."""
from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def resize(features: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes bilinearly with aligned corners, as all networks of this package do.

    Output row y reads the input at row y (h - 1) / (H - 1): the centers of the corner pixels of
    both grids coincide.

    Args:
        features: (N, C, h, w).
        size: (H, W) of the output, in pixels.

    Returns:
        (N, C, H, W).
    """
    return F.interpolate(features, size=list(size), mode="bilinear", align_corners=True)


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1,
                 dilation: int = 1, bias: bool = False) -> nn.Sequential:
    """Returns a convolution, batch normalization and ReLU: children 0, 1 and 2.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride), rounded up.

    Args:
        kernel_size: an odd number of pixels.
    """
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def auxiliary_classifier(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    """Returns a classifier for deep supervision: (N, in_channels, H, W) -> (N, K, H, W).

    Source: SFNet, arXiv 2002.10120, section 3.
    """
    return nn.Sequential(
        *conv_bn_relu(in_channels, channels, 3, bias=True),
        nn.Dropout2d(0.1),
        nn.Conv2d(channels, num_classes, 1),
    )


class BasicBlock(nn.Module):
    """The residual block of two 3x3 convolutions, relu(F(x) + shortcut(x)).

    Shapes: (N, in_channels, H, W) -> (N, channels, H / stride, W / stride).
    Source: He et al., CVPR 2016, arXiv 1512.03385, figure 5 left.

    Args:
        stride: of the first convolution.
        dilation: of the second convolution.
        downsample: whether the shortcut is a 1x1 convolution with the block's stride.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, dilation: int = 1,
                 downsample: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            projection_shortcut(in_channels, channels, stride) if downsample else None)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + shortcut)


class Bottleneck(nn.Module):
    """The residual block of a 1x1, a 3x3 and a 1x1 convolution, relu(F(x) + shortcut(x)).

    Shapes: (N, in_channels, H, W) -> (N, 4 channels, H / stride, W / stride).
    Source: He et al., CVPR 2016, arXiv 1512.03385, figure 5 right.

    Args:
        channels: width of the 3x3 convolution; the block returns four times as many.
        stride: of the 3x3 convolution.
        dilation: of the 3x3 convolution.
        downsample: whether the shortcut is a 1x1 convolution with the block's stride.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, dilation: int = 1,
                 downsample: bool = False) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            projection_shortcut(in_channels, out_channels, stride) if downsample else None)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        features = self.relu(self.bn2(self.conv2(features)))
        return self.relu(self.bn3(self.conv3(features)) + shortcut)


def projection_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Returns the 1x1 convolution and BN that give a block's input the shape of its output."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
