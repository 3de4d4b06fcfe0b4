"""The small pieces that every network here is made of."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BAND_ROWS = 32                                              # few beside a whole map, many beside the two around them


def resize(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resizing with aligned corners, the only kind these networks use.

    Args:
        features: (N, C, h, w).
        size: the wanted (height, width) in pixels.
    """
    return F.interpolate(features, size=list(size), mode="bilinear", align_corners=True)


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1,
                 bias: bool = False) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, batch normalization and ReLU: children 0, 1 and 2."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Fusion(nn.Sequential):
    """Maps of one size, concatenated and classified: list of (N, C_i, H, W) -> logits (N, K, H, W).

    Args:
        in_channels: sum of C_i.
        channels: width of the 3x3 convolution.
        num_classes: K.

    Attributes:
        chunked: whether a CPU takes some rows at a time, and never holds the whole concatenation. The logits are the
            same; `fuse_for_inference` sets it.
    """

    chunked = False

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__(conv_bn_relu(in_channels, channels, 3), nn.Conv2d(channels, num_classes, 1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        # A compiler plans memory itself, and a GPU is faster with whole maps.
        if not self.chunked or torch.compiler.is_compiling() or maps[0].device.type != "cpu":
            return super().forward(torch.cat(maps, dim=1))
        height = maps[0].shape[2]
        bands = []
        for first in range(0, height, BAND_ROWS):
            last = min(first + BAND_ROWS, height)
            above, below = max(0, first - 1), min(height, last + 1)             # what the 3x3 convolution sees besides
            band = super().forward(torch.cat([each[:, :, above:below] for each in maps], dim=1))
            bands.append(band[:, :, first - above:last - above])
        return torch.cat(bands, dim=2)


def auxiliary_classifier(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    """A deep supervision's classifier (SFNet, arXiv 2002.10120): (N, in_channels, H, W) -> (N, K, H, W)."""
    return nn.Sequential(
        *conv_bn_relu(in_channels, channels, 3, bias=True), nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, 1))


class BasicBlock(nn.Module):
    """The two-convolution residual block (He et al., CVPR 2016, arXiv 1512.03385, figure 5 left).

    Args:
        dilation: of the second convolution.
        downsample: whether the shortcut is a 1x1 convolution with the block's stride.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, dilation: int = 1,
                 downsample: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection_shortcut(in_channels, channels, stride) if downsample else None

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + shortcut)


class Bottleneck(nn.Module):
    """The three-convolution residual block (arXiv 1512.03385, figure 5 right), with its stride on the 3x3.

    Args:
        channels: width of the 3x3 convolution; the block gives four times as many.
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
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection_shortcut(in_channels, out_channels, stride) if downsample else None

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        features = self.relu(self.bn2(self.conv2(features)))
        return self.relu(self.bn3(self.conv3(features)) + shortcut)


def projection_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """The 1x1 convolution and BN that bring a residual block's input to its output's shape."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
