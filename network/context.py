"""Context over the whole image: pyramid pooling (PSPNet), its sum variant, and atrous pyramid pooling (DeepLab)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import conv_bn_relu, resize


class AdaptiveAveragePooling(nn.Module):
    """Averages a map over an s x s grid of cells: (N, C, H, W) -> (N, C, s, s).

    Equal to `nn.AdaptiveAvgPool2d`, but written as two small matrix products whose matrices are built from the size at
    run time: that one exports to other runtimes at any input size and needs no size that divides.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = (self._averages(side, features) for side in features.shape[-2:])
        return F.linear(rows @ features, columns)

    def _averages(self, side: int, like: Tensor) -> Tensor:
        """Returns (s, side): row i averages positions floor(i side / s) to ceil((i + 1) side / s), the end excluded."""
        cell = torch.arange(self.cells, device=like.device)[:, None]
        position = torch.arange(side, device=like.device)[None]
        first, end = cell * side // self.cells, ((cell + 1) * side + self.cells - 1) // self.cells
        inside = ((position >= first) & (position < end)).to(like.dtype)
        return inside / inside.sum(dim=1, keepdim=True)

    def extra_repr(self) -> str:
        return f"cells={self.cells}"


class PyramidPooling(nn.Module):
    """The Pyramid Pooling Module (PSPNet, arXiv 1612.01105, figure 3).

    (N, in_channels, H, W) -> (N, channels, H, W). The input joins the levels in the concatenation.
    """

    def __init__(self, in_channels: int, channels: int, grid_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        # `stages` and `bottleneck` are the published checkpoints' keys.
        self.stages = _pooling_stages(in_channels, channels, grid_sizes)
        self.bottleneck = nn.Sequential(
            *conv_bn_relu(in_channels + len(grid_sizes) * channels, channels, 1), nn.Dropout2d(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Raises ValueError for a single image in training mode, over whose 1x1 cell no batch statistics exist."""
        refuse_single_image(features, self.stages[0].get_submodule("2"))
        pyramid = [resize(stage(features), features.shape[-2:]) for stage in self.stages]
        return self.bottleneck(torch.cat([*pyramid, features], dim=1))


class SummedPyramidPooling(nn.Module):
    """Pyramid pooling that adds its levels instead of concatenating them, which spares the wide merging convolution.

    (N, in_channels, H, W) -> (N, channels, H, W). The input joins the sum through a 1x1 convolution of its own.
    Source of the sum: ICNet, arXiv 1704.08545; PP-LiteSeg, arXiv 2204.02681, "Simple Pyramid Pooling Module".
    """

    def __init__(self, in_channels: int, channels: int, grid_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.stages = _pooling_stages(in_channels, channels, grid_sizes)
        self.project = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.finish = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout2d(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Raises ValueError for a single image in training mode, over whose 1x1 cell no batch statistics exist."""
        refuse_single_image(features, self.stages[0].get_submodule("2"))
        total = self.project(features)
        for stage in self.stages:
            total = total + resize(stage(features), features.shape[-2:])
        return self.finish(total)


class AtrousPyramidPooling(nn.Module):
    """Atrous Spatial Pyramid Pooling (DeepLabV3, arXiv 1706.05587, figure 5): (N, C, H, W) -> (N, 5 channels, H, W).

    In this order: the image's average, a 1x1 convolution, and 3x3 convolutions of each dilation.
    """

    def __init__(self, in_channels: int, channels: int = 256, dilations: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__()
        # `features` and `img_conv` are the published checkpoints' keys.
        self.features = nn.ModuleList([conv_bn_relu(in_channels, channels, 1)])
        self.features.extend(conv_bn_relu(in_channels, channels, 3, dilation=dilation) for dilation in dilations)
        self.img_conv = conv_bn_relu(in_channels, channels, 1)
        self.out_channels = channels * (len(self.features) + 1)

    def forward(self, features: Tensor) -> Tensor:
        """Raises ValueError for a single image in training mode, over whose average no batch statistics exist."""
        refuse_single_image(features, self.img_conv[1])
        image = resize(self.img_conv(features.mean(dim=(2, 3), keepdim=True)), features.shape[-2:])
        return torch.cat([image, *(branch(features) for branch in self.features)], dim=1)


# name -> the module that sees the whole image on top of a pyramid's backbone
CONTEXTS: dict[str, type[nn.Module]] = {"ppm": PyramidPooling, "sum": SummedPyramidPooling}


def make_context(name: str, in_channels: int, channels: int) -> nn.Module:
    """Returns a module of `CONTEXTS`: (N, in_channels, H, W) -> (N, channels, H, W).

    Raises:
        ValueError: there is none of that name.
    """
    if name not in CONTEXTS:
        raise ValueError(f"unknown context {name!r}: choose {' or '.join(CONTEXTS)} (--context)")
    return CONTEXTS[name](in_channels, channels)


def refuse_single_image(features: Tensor, norm: nn.Module) -> None:
    """Raises ValueError when `norm` would take batch statistics over the single value per channel of one image."""
    if norm.training and type(norm) is nn.BatchNorm2d and len(features) == 1:   # last: an exporter must not see it
        raise ValueError("pyramid pooling cannot train on a batch of one image: batch normalization of the 1x1 "
                         "cell has a single value per channel. Use at least 2 images a process (--bs_mult 2), "
                         "or several GPUs, over which it is synchronized.")


def _pooling_stages(in_channels: int, channels: int, grid_sizes: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(AdaptiveAveragePooling(cells), nn.Conv2d(in_channels, channels, 1, bias=False),
                      nn.BatchNorm2d(channels))
        for cells in grid_sizes)
