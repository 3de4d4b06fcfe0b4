"""Context over the whole image: pyramid pooling (PSPNet, CVPR 2017, arXiv 1612.01105, figure 3)."""
from __future__ import annotations

import torch
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
        return rows @ features @ columns.T

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
    """The Pyramid Pooling Module: (N, in_channels, H, W) -> (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int, grid_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        # `stages` and `bottleneck` are the published checkpoints' keys.
        self.stages = nn.ModuleList(
            nn.Sequential(AdaptiveAveragePooling(cells), nn.Conv2d(in_channels, channels, 1, bias=False),
                          nn.BatchNorm2d(channels))
            for cells in grid_sizes
        )
        self.bottleneck = nn.Sequential(
            *conv_bn_relu(in_channels + len(grid_sizes) * channels, channels, 1), nn.Dropout2d(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Raises ValueError for a single image in training mode, over whose 1x1 cell no batch statistics exist."""
        norm = self.stages[0].get_submodule("2")
        if len(features) == 1 and norm.training and type(norm) is nn.BatchNorm2d:
            raise ValueError("pyramid pooling cannot train on a batch of one image: batch normalisation of the 1x1 "
                             "cell has a single value per channel. Use at least 2 images a process (--bs_mult 2), "
                             "or synchronise BN over several processes (--syncbn).")
        pyramid = [resize(stage(features), features.shape[-2:]) for stage in self.stages]
        return self.bottleneck(torch.cat([*pyramid, features], dim=1))
