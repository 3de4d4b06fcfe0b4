"""Bilinear resizing with aligned corners, a chunk of output rows at a time.

Logits at the size of the labels are the largest tensor of a step: 19 classes at 1024 x 1024 take 80
MB an image. What is computed from them (a loss, a softmax, an arg max) is computed a chunk at a
time, so that they are never held whole and a chunk stays in a CPU's caches.

Resizing is separable: with the interpolation matrices R (H, h) and C (W, w) of the two axes, a map
X (h, w) becomes R X C^T. Every function here does the cheap axis first and the other one for each
chunk.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.threads import map_in_threads

# values in one chunk of a loss. On a CPU 8 MB in float32, about the second-level caches of its
# cores; on a GPU 64 MB, so that each kernel runs longer than its launch takes
CHUNK_VALUES = 1 << 21
GPU_CHUNK_VALUES = 1 << 24
# up to this width, a CPU widens rows faster by a dense product, and three times as fast backward
MATRIX_WIDTH = 128

# (chunk of the resized logits (N, K, rows, W), its rows) -> (N, rows, W), or any shape to be summed
ChunkFunction = Callable[[Tensor, slice], Tensor]
# rows of the output -> resized maps (N, K, rows, W)
RowResizer = Callable[[slice], Tensor]


def at_least_float32(values: Tensor) -> Tensor:
    """Converts half precision, whose sums would be inexact, to float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes maps (N, K, h, w) to (N, K, H, W), bilinear with aligned corners."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def upsampled(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Returns logits (N, K, h, w) at (H, W), whole, in float32 (float64 stays)."""
    return resize(at_least_float32(logits), (size[0], size[1]))


def row_chunks(shape: Sequence[int], chunk_values: int | None) -> list[slice]:
    """Splits the rows of maps of a shape (N, K, H, W) into chunks of at least one row.

    Args:
        chunk_values: largest number of values in a chunk; None gives a single chunk.
    """
    batch, channels, height, width = shape
    step = height if chunk_values is None else chunk_values // (batch * channels * width)
    step = max(1, step)
    return [slice(first, min(first + step, height)) for first in range(0, height, step)]


def interpolation_matrix(source: int, target: int, *, dtype: torch.dtype | None = None,
                         device: torch.device | None = None) -> Tensor:
    """Returns the matrix (target, source) that resizes a signal of `source` samples.

    Its column i is the unit impulse at sample i, resized. Each row has at most two neighboring
    values above 0, which sum to 1.
    """
    impulses = torch.eye(source, dtype=dtype, device=device)[None]
    return F.interpolate(impulses, size=target, mode="linear", align_corners=True)[0].T


def source_positions(source: int, target: int,
                     device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns for each of `target` output samples the input samples before and after, and a weight.

    Output i lies at position x = i (source - 1) / (target - 1) of the input; the samples are
    floor(x) and floor(x) + 1, (target,) int64, and the weight of the latter is x - floor(x),
    float32.
    """
    step = (source - 1) / max(1, target - 1)
    position = torch.arange(target, device=device, dtype=torch.float32) * step
    before = position.long().clamp(max=max(0, source - 2))
    after = (before + 1).clamp(max=source - 1)
    return before, after, position - before


# For evaluation: no gradient


def for_each_chunk(maps: Tensor, size: tuple[int, int],
                   resizer: Callable[[Tensor, tuple[int, int]], RowResizer],
                   chunk_values: int | None, function: Callable[[slice, Tensor], None]) -> None:
    """Calls a function for each chunk of maps (N, K, h, w) that are resized to (H, W).

    On a CPU several chunks are resized at once, see `map_in_threads`.

    Args:
        resizer: `matrix_rows` or `lerp_rows`.
        chunk_values: as in `row_chunks`.
        function: called with the rows of a chunk, and their values (N, K, rows, W).
    """
    resize_rows = resizer(maps, size)
    map_in_threads(lambda rows: function(rows, resize_rows(rows)),
                   row_chunks((*maps.shape[:2], *size), chunk_values), maps.device)


def matrix_rows(maps: Tensor, size: tuple[int, int]) -> RowResizer:
    """Resizes rows by a matrix product, on a CPU five times as fast as resizing at once.

    On other devices the maps are resized at once.
    """
    (height, width), (new_height, new_width) = maps.shape[-2:], size
    if maps.device.type != "cpu":
        resized = maps if (height, width) == size else resize(maps, size)
        return lambda rows: resized[:, :, rows]
    # columns first where they grow: there are fewer rows before than after the rows are resized
    if width < new_width:
        maps = resize(maps, (height, new_width))
    matrix = None if height == new_height else interpolation_matrix(height, new_height).contiguous()
    ratio = (height - 1) / max(1, new_height - 1)

    def resize_rows(rows: slice) -> Tensor:
        if matrix is None:
            chunk = maps[:, :, rows]
        else:
            # the few input rows between which the chunk lies, with a margin for rounding
            near = slice(max(0, int(rows.start * ratio) - 1), int((rows.stop - 1) * ratio) + 3)
            chunk = matrix[rows, near] @ maps[:, :, near]
        if width > new_width:
            chunk = resize(chunk, (chunk.shape[2], new_width))
        return chunk

    return resize_rows


def lerp_rows(maps: Tensor, size: tuple[int, int]) -> RowResizer:
    """Interpolates each row between two rows, whose columns are resized once for each chunk."""
    height, new_width = maps.shape[2], size[1]
    above, below, weight = source_positions(height, size[0], maps.device)
    # the same positions on the host: reading them back from a GPU would wait for it
    first, last, _ = source_positions(height, size[0], torch.device("cpu"))

    def resize_rows(rows: slice) -> Tensor:
        start, stop = int(first[rows.start]), int(last[rows.stop - 1]) + 1
        wide = resize(maps[:, :, start:stop], (stop - start, new_width))
        upper, lower = wide[:, :, above[rows] - start], wide[:, :, below[rows] - start]
        return torch.lerp(upper, lower, weight[rows, None])

    return resize_rows


# For losses: differentiable


def map_row_chunks(logits: Tensor, size: Sequence[int], function: ChunkFunction, *,
                   summed: bool = False) -> Tensor:
    """Applies a function to logits at the labels' size, a chunk of rows at a time.

    Neither the forward nor the backward pass holds the full-size logits: the backward pass computes
    each chunk once more.

    Args:
        logits: (N, K, h, w), not larger than `size`; computed in float32 (float64 stays).
        size: (H, W) of the labels.
        function: differentiable in the logits; also called in the backward pass.
        summed: add the chunks' results instead of joining them to (N, H, W).
    """
    # channels first: a softmax copies maps whose channels are last, and does so in every chunk
    logits = at_least_float32(logits).contiguous()
    height, width = size
    if logits.shape[-2:] == (height, width):
        return function(logits, slice(0, height))
    # rows first, at the logits' own width, which is small; then the width of each chunk
    rows = resize(logits, (height, logits.shape[-1]))
    return _ChunkedUpsample.apply(rows, width, function, summed)


class _ChunkedUpsample(torch.autograd.Function):
    """`function` of rows (N, K, H, w) that are widened to (N, K, H, W) a chunk at a time."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, width: int, function: ChunkFunction,
                summed: bool) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.width, ctx.function, ctx.summed = width, function, summed
        with _autocast_off(rows):
            widen, _ = _widening(rows, width)
            results = map_in_threads(lambda chunk: function(widen(rows[:, :, chunk]), chunk),
                                     _loss_chunks(rows, width), rows.device)
        return torch.stack(results).sum(0) if summed else torch.cat(results, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        rows, = ctx.saved_tensors
        grad_rows = torch.empty_like(rows)

        def differentiate(chunk: slice) -> None:
            wide = widen(rows[:, :, chunk]).detach().requires_grad_()
            with torch.enable_grad():
                result = ctx.function(wide, chunk)
            # a sum passes its gradient on to every chunk
            grad = grads[0] if ctx.summed else grads[0][:, chunk]
            grad_wide, = torch.autograd.grad(result, wide, grad)
            grad_rows[:, :, chunk] = widen_backward(grad_wide)

        with _autocast_off(rows):
            widen, widen_backward = _widening(rows, ctx.width)
            map_in_threads(differentiate, _loss_chunks(rows, ctx.width), rows.device)
        return grad_rows, None, None, None


def _loss_chunks(rows: Tensor, width: int) -> list[slice]:
    """Returns the chunks in which a loss widens `rows`, (N, K, H, w), to (N, K, H, width)."""
    # the meta device counts as a GPU, whose memory is computed on it
    values = CHUNK_VALUES if rows.device.type == "cpu" else GPU_CHUNK_VALUES
    return row_chunks((*rows.shape[:3], width), values)


def _autocast_off(tensor: Tensor) -> AbstractContextManager[object]:
    """Returns a context without autocast, which would widen a chunk in half precision."""
    device = tensor.device.type
    # the meta device has none
    has_autocast = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if has_autocast else nullcontext()


def _widening(rows: Tensor, width: int) -> tuple[Callable[[Tensor], Tensor],
                                                 Callable[[Tensor], Tensor]]:
    """Returns how the columns of chunks of `rows`, (N, K, h, w), are resized to `width`.

    The second function is the backward pass of the first: from the gradient (N, K, h, width) to
    (N, K, h, w).
    """
    narrow = rows.shape[-1]
    matrix = interpolation_matrix(narrow, width, dtype=rows.dtype, device=rows.device)

    def interpolate(chunk: Tensor) -> Tensor:
        return resize(chunk, (chunk.shape[-2], width))

    def interpolate_backward(grad: Tensor) -> Tensor:
        shape = (*grad.shape[:3], narrow)
        result: Tensor = torch.ops.aten.upsample_bilinear2d_backward(grad, grad.shape[-2:], shape,
                                                                     True)
        return result

    def multiply(chunk: Tensor) -> Tensor:
        return chunk @ matrix.T

    def multiply_backward(grad: Tensor) -> Tensor:
        return grad @ matrix

    # A GPU interpolates quickly, but adds up the gradient by atomic operations, which take twice as
    # long as a matrix product. With TF32, the product rounds its factors as a convolution does.
    if rows.device.type != "cpu":
        return interpolate, multiply_backward
    if narrow > MATRIX_WIDTH:
        return interpolate, interpolate_backward
    return multiply, multiply_backward
