"""The last fusion of a pyramid: a 3x3 convolution over its maps, most of which are upsampled.

Upsampling and convolution are both linear, so that their order can be changed. The interpolation
matrices R (H, h) of the rows and C (W, w) of the columns upsample a map X to R X C^T. With R_i, the
matrix whose row y is row y + i of R, zero where R has no such row (this is the zero padding), and
C_j in the same way,

    conv3x3(R X C^T) = sum_j (sum_i R_i (W_ij X)) C_j^T,    i, j in {-1, 0, 1},

where W_ij X is the 1x1 convolution with one of the nine taps, at the size of X. Of a map that is
upsampled twice these have a quarter of the multiply-adds, and the products with R and C are small
beside them while the map is small.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import conv_bn_relu, resize

# Rows of a chunk of `Fusion`: few compared with a whole map, many compared with the two rows of
# context that each chunk computes in addition.
CHUNK_ROWS = 32
# A map is convolved before it is upsampled where that has at most this fraction of the
# convolution's multiply-adds, since the products with R and C take up to 1.4 times as long for
# each (on a CPU with AVX512-BF16, in bfloat16 and float32).
WORTHWHILE = 0.7


class Fusion(nn.Sequential):
    """The last fusion of a pyramid: concatenates its maps and computes the logits.

    Shapes: lists of (N, C_i, H, W) and of coarser (N, C_i, h_i, w_i) -> logits (N, K, H, W).

    The coarser maps are upsampled to (H, W). In training on a CPU, `convolve_pyramid` computes the
    3x3 convolution before that, which gives the same logits up to rounding.

    Args:
        in_channels: sum of C_i.
        channels: width of the 3x3 convolution.
        num_classes: K.

    Attributes:
        chunked: whether `CHUNK_ROWS` rows are computed at a time on a CPU, so that the whole
            concatenation is never in memory. The logits are the same. Set by `fuse_for_inference`.
    """

    chunked = False

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__(conv_bn_relu(in_channels, channels, 3),
                         nn.Conv2d(channels, num_classes, 1))

    def forward(self, maps: list[Tensor], coarser: Sequence[Tensor] = ()) -> Tensor:
        # A compiler plans memory itself, and a GPU is faster with whole maps.
        is_eager_cpu = maps[0].device.type == "cpu" and not torch.compiler.is_compiling()
        if self.training and is_eager_cpu:
            conv, norm, relu = self[0].children()
            assert isinstance(conv, nn.Conv2d)
            return self[1](relu(norm(convolve_pyramid(maps, coarser, conv.weight))))
        height, width = maps[0].shape[2:]
        maps = [*maps, *(resize(features, (height, width)) for features in coarser)]
        if not self.chunked or not is_eager_cpu:
            return super().forward(torch.cat(maps, dim=1))
        chunks = [self._logits_of_rows(maps, first, min(first + CHUNK_ROWS, height))
                  for first in range(0, height, CHUNK_ROWS)]
        return torch.cat(chunks, dim=2)

    def _logits_of_rows(self, maps: list[Tensor], first: int, end: int) -> Tensor:
        """Returns the logits of the rows [first, end), (N, K, end - first, W)."""
        # The 3x3 convolution also reads the row above the chunk and the row below it.
        top, bottom = max(0, first - 1), min(maps[0].shape[2], end + 1)
        rows = torch.cat([features[:, :, top:bottom] for features in maps], dim=1)
        return super().forward(rows)[:, :, first - top:end - top]


def convolve_pyramid(maps: Sequence[Tensor], coarser: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Convolves the concatenation of maps and of coarser ones that are upsampled, with padding 1.

    Equal to `conv2d(cat([*maps, *upsampled]), weight, padding=1)` up to rounding.

    Args:
        maps: one or more (N, C_i, H, W).
        coarser: (N, C_i, h_i, w_i), to be upsampled to (H, W) as `resize` does.
        weight: (C_out, sum of all C_i, 3, 3), for the maps and then for the coarser ones.

    Returns:
        (N, C_out, H, W).
    """
    size = maps[0].shape[2:]
    kernels = weight.split([features.shape[1] for features in (*maps, *coarser)], dim=1)
    inputs, input_kernels, sums = list(maps), list(kernels[:len(maps)]), []
    for features, kernel in zip(coarser, kernels[len(maps):], strict=True):
        if relative_cost(features.shape, size) <= WORTHWHILE:
            sums.append(convolve_upsampled(features, kernel, size))
        else:
            inputs.append(resize(features, size))
            input_kernels.append(kernel)
    total = F.conv2d(torch.cat(inputs, dim=1), torch.cat(input_kernels, dim=1), padding=1)
    for part in sums:
        total = total + part
    return total


def relative_cost(shape: Sequence[int], size: Sequence[int]) -> float:
    """Returns the multiply-adds of `convolve_upsampled`, as a fraction of the convolution's.

    Args:
        shape: (N, C, h, w) of the map.
        size: (H, W) to which it is upsampled.
    """
    _, channels, height, width = shape
    taps = 9 * channels * height * width
    rows = size[0] * 3 * height * 3 * width
    columns = size[0] * size[1] * 3 * width
    return (taps + rows + columns) / (9 * channels * size[0] * size[1])


def convolve_upsampled(features: Tensor, weight: Tensor, size: Sequence[int]) -> Tensor:
    """Returns `conv2d(resize(features, size), weight, padding=1)` by the formula of this module.

    Args:
        features: (N, C, h, w).
        weight: (C_out, C, 3, 3).
        size: (H, W).

    Returns:
        (N, C_out, H, W) in channels last.
    """
    batch, channels, height, width = features.shape
    out_channels, new_height = len(weight), size[0]
    pixels = features.permute(0, 2, 3, 1)
    # For each tap i of the rows, the products of all taps j of the columns: (N, h, w, 3 C_out).
    products = [F.linear(pixels, weight[:, :, i].permute(2, 0, 1).reshape(-1, channels))
                for i in range(3)]
    row_taps = torch.stack(products, dim=1).view(batch, 3 * height, width * 3 * out_channels)
    rows = _shifted_interpolation(height, new_height, features).reshape(new_height, -1)
    column_taps = (rows @ row_taps).view(batch * new_height, width * 3, out_channels)
    columns = _shifted_interpolation(width, size[1], features).transpose(1, 2)
    output = columns.reshape(size[1], -1) @ column_taps
    return output.view(batch, new_height, size[1], out_channels).permute(0, 3, 1, 2)


def _shifted_interpolation(source: int, target: int, like: Tensor) -> Tensor:
    """Returns (target, 3, source): the matrices M_-1, M_0 and M_1 of an axis, row by row.

    Args:
        like: a tensor of the data type and device of the result.
    """
    # an impulse at each sample, resized
    dtype = torch.promote_types(like.dtype, torch.float32)
    impulses = torch.eye(source, dtype=dtype, device=like.device)[None, :, :, None]
    matrix = resize(impulses, (target, 1))[0, :, :, 0].T
    padded = F.pad(matrix, (0, 0, 1, 1))
    return torch.stack([padded[i:i + target] for i in range(3)], dim=1).to(like.dtype)
