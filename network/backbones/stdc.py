"""STDC: short-term dense concatenation networks (Fan et al., CVPR 2021, arXiv 2104.13188)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.model import Backbone


class ConvX(nn.Module):
    """A convolution that keeps the size at stride 1, batch normalization and ReLU, under the published keys."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(features)))


class ShortTermDenseConcatenation(nn.Module):
    """The STDC module (figure 3): four convolutions of halving widths, all of whose outputs are concatenated.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    Args:
        stride: 1, or 2: then the first output goes on through a depthwise convolution, and into the concatenation
            through average pooling.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = (out_channels // part for part in (2, 4, 8))
        self.conv_list = nn.ModuleList([
            ConvX(in_channels, half, 1), ConvX(half, quarter, 3), ConvX(quarter, eighth, 3), ConvX(eighth, eighth, 3)])
        self.avd_layer: nn.Module = nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if stride == 2:
            self.avd_layer = nn.Sequential(
                nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False), nn.BatchNorm2d(half))
            self.skip = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        first, *rest = self.conv_list
        features = first(features)
        outputs = [self.skip(features)]
        features = self.avd_layer(features)
        for conv in rest:
            features = conv(features)
            outputs.append(features)
        return torch.cat(outputs, dim=1)


class STDC(Backbone):
    """STDC: four maps, fine to coarse, at strides 4, 8, 16 and 32.

    Args:
        depths: STDC modules in each of the last three stages.
    """

    out_channels = (64, 256, 512, 1024)
    strides = (4, 8, 16, 32)

    def __init__(self, depths: tuple[int, int, int]) -> None:
        super().__init__()
        # Published files hold every layer under `features`, and once more by its stride.
        self.features = nn.Sequential(ConvX(3, 32, 3, stride=2), ConvX(32, 64, 3, stride=2))
        in_channels, self.ends = 64, [2]                    # `ends`: where in `features` each map is taken
        for depth, channels in zip(depths, self.out_channels[1:], strict=True):
            for block in range(depth):
                self.features.append(ShortTermDenseConcatenation(in_channels, channels, stride=1 if block else 2))
                in_channels = channels
            self.ends.append(len(self.features))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, features = [], images
        for position, layer in enumerate(self.features, start=1):
            features = layer(features)
            if position in self.ends:
                maps.append(features)
        return maps


def stdc1() -> STDC:
    return STDC((2, 2, 2))


def stdc2() -> STDC:
    return STDC((4, 5, 3))
