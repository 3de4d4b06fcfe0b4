"""Bilinear sampling by gathers, for runtimes that have no operator for `grid_sample`."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram


def without_grid_sample(program: ExportedProgram) -> ExportedProgram:
    """Returns the program with each `grid_sample` replaced by gathers and arithmetic."""
    table = torch.export.default_decompositions()
    table[torch.ops.aten.grid_sampler_2d.default] = sample
    return program.run_decompositions(table)


def sample(features: Tensor, grid: Tensor, interpolation: int = 0, padding: int = 0,
           align_corners: bool = False) -> Tensor:
    """Samples features as `torch.ops.aten.grid_sampler_2d` does, bilinear with zero padding.

    With (x, y) the position in pixels and i, j the four pixels around it:

        output = sum over i, j of (1 - |x - i|) (1 - |y - j|) features[j, i].

    One index gathers all C channels of a pixel, because every runtime can gather along one
    dimension.

    Args:
        features: (N, C, h, w).
        grid: (N, H, W, 2), x then y in [-1, 1].
        interpolation, padding: codes of the operator; only 0 (bilinear) and 0 (zeros).

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: another interpolation or padding.
    """
    if interpolation or padding:
        raise ValueError("only bilinear sampling with zero padding can be written as gathers")
    count, channels, height, width = features.shape
    x = _to_pixels(grid[..., 0], width, align_corners)
    y = _to_pixels(grid[..., 1], height, align_corners)
    left, top = x.floor(), y.floor()
    # (N h w, C): row r of image n is row n h + r of all images
    pixels = features.permute(0, 2, 3, 1).reshape(-1, channels)
    first_row = torch.arange(count, device=grid.device)[:, None, None] * height
    total = torch.zeros((), dtype=features.dtype, device=features.device)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
        weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside.to(grid.dtype)
        # outside, pixel 0 is gathered with weight 0
        index = ((first_row + row.long()) * width + column.long()) * inside.long()
        corner = pixels.index_select(0, index.reshape(-1)).reshape(*index.shape, channels)
        total = total + corner * weight[..., None]
    return total.permute(0, 3, 1, 2)


def _to_pixels(coordinates: Tensor, side: int, align_corners: bool) -> Tensor:
    """Converts coordinates in [-1, 1] to pixels of a side.

    With aligned corners -1 and 1 are the centers of the outer pixels: (c + 1) (side - 1) / 2.
    Without, they are the outer edges: ((c + 1) side - 1) / 2.
    """
    if align_corners:
        return (coordinates + 1) * ((side - 1) / 2)
    return ((coordinates + 1) * side - 1) / 2
