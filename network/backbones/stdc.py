"""STDC: short-term dense concatenation networks (Fan et al., CVPR 2021, arXiv 2104.13188)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.model import Backbone


class ConvX(nn.Module):
    """A convolution, batch normalization and ReLU, under the published checkpoints' keys.

    The kernel size is odd; at stride 1 the output has the size of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *,
                 stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(features)))


class ShortTermDenseConcatenation(nn.Module):
    """The STDC module (figure 3): four convolutions of decreasing width, all outputs concatenated.

    With M = out_channels, the widths are M/2, M/4, M/8 and M/8, whose sum is M.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    Args:
        stride: 1 or 2. At 2, a depthwise convolution halves the first output for the second
            convolution, and average pooling halves it for the concatenation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = out_channels // 2, out_channels // 4, out_channels // 8
        self.conv_list = nn.ModuleList([
            ConvX(in_channels, half, 1),
            ConvX(half, quarter, 3),
            ConvX(quarter, eighth, 3),
            ConvX(eighth, eighth, 3),
        ])
        self.avd_layer: nn.Module = nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if stride == 2:
            self.avd_layer = nn.Sequential(
                nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False),
                nn.BatchNorm2d(half),
            )
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
        depths: number of STDC modules in each of the last three stages.

    Attributes:
        ends: for each map, the number of layers of `features` that compute it.
    """

    out_channels = (64, 256, 512, 1024)
    strides = (4, 8, 16, 32)

    def __init__(self, depths: tuple[int, int, int]) -> None:
        super().__init__()
        # Published files hold every layer twice: under `features`, and under a key with its stride.
        self.features = nn.Sequential(ConvX(3, 32, 3, stride=2), ConvX(32, 64, 3, stride=2))
        in_channels = 64
        self.ends = [len(self.features)]
        for depth, channels in zip(depths, self.out_channels[1:], strict=True):
            for block in range(depth):
                stride = 2 if block == 0 else 1
                self.features.append(ShortTermDenseConcatenation(in_channels, channels, stride))
                in_channels = channels
            self.ends.append(len(self.features))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        features = images
        for end, layer in enumerate(self.features, start=1):
            features = layer(features)
            if end in self.ends:
                maps.append(features)
        return maps


def stdc1() -> STDC:
    return STDC((2, 2, 2))


def stdc2() -> STDC:
    return STDC((4, 5, 3))
