"""What the criteria here are made of: functions of the logits at label size, without holding the full-size logits."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BAND_VALUES = 1 << 21       # logits of one band, in float32 8 MB: about a CPU's second-level caches
NARROW = 128                # up to this width a CPU widens rows faster by a dense product, and 3 times so backwards

PerBand = Callable[[Tensor, slice], Tensor]                 # (logits (N, K, h, W), the band's rows) -> what of them


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int, label_smoothing: float = 0.0) -> Tensor:
    """Returns the cross entropy of each pixel, (N, H, W) in float32; 0 where the label is ignored.

    Args:
        logits: (N, K, h, w) in any precision. Smaller ones are resized to the labels with aligned corners, a band of
            rows at a time, forwards and backwards, so that no full-size logits are ever held.
        labels: (N, H, W) int64 in [0, K) or `ignore_label`.
        label_smoothing: share of the truth that is spread over all classes, in [0, 1).

    Raises:
        ValueError: as in `check`.
    """
    check(logits, labels, ignore_label)

    def cross_entropy(band: Tensor, rows: slice) -> Tensor:
        return F.cross_entropy(band, labels[:, rows], ignore_index=ignore_label, reduction="none",
                               label_smoothing=label_smoothing)

    return map_row_chunks(logits, labels.shape[-2:], cross_entropy)


def map_row_chunks(logits: Tensor, size: Sequence[int], per_band: PerBand, *, summed: bool = False) -> Tensor:
    """Applies a function of the logits at label size, a band of rows at a time where they have to be raised to it.

    Args:
        logits: (N, K, h, w), at most of that size; raised with aligned corners.
        size: (H, W) of the labels.
        per_band: gives (N, rows, W) for a band, or any shape when `summed`; differentiable in the logits. It is called
            again in the backward pass.
        summed: add the bands' results up instead of joining them to (N, H, W).
    """
    logits = _wide(logits)
    height, width = size
    if logits.shape[-2:] == (height, width):
        return per_band(logits, slice(0, height))
    # Bilinear resizing is separable: rows first at the logits' own width, which is small, then each band's width.
    return _ChunkedUpsample.apply(_resize(logits, (height, logits.shape[-1])), width, per_band, summed)


def raised(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Returns the logits, (N, K, h, w), at (H, W) with aligned corners, in float32 or, where they come so, float64."""
    return _resize(_wide(logits), (size[0], size[1]))


def mean_over(values: Tensor, weights: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Returns the mean of values by weights or by a mask; exactly 0, with zero gradient, where nothing weighs."""
    total = weights.sum(dim)
    return (values * weights).sum(dim) / torch.where(total > 0, total, 1)


def largest(values: Tensor, count: int) -> Tensor:
    """Returns the count-th largest value, by selection: nothing is sorted. The smallest one where there are fewer."""
    flat = values.detach().flatten()
    rank = max(0, flat.numel() - count)
    return _selected(flat, rank) if flat.device.type == "cpu" else flat.kthvalue(rank + 1).values


@torch.compiler.disable
def _selected(flat: Tensor, rank: int) -> Tensor:
    """By numpy, which stays linear in the worst case: torch's own on a CPU is quadratic where values fall steadily."""
    return flat.new_tensor(np.partition(flat.numpy(), rank)[rank])


def check(logits: Tensor, labels: Tensor, ignore_label: int) -> None:
    """Refuses logits and labels that do not belong together; looks at the labels' values on a CPU only.

    Raises:
        ValueError: the batches differ, the logits are larger than the labels, or have too few classes for them.
    """
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not belong together: "
                         "expected (N, K, h, w) and (N, H, W) with the same N")
    if any(own > wanted for own, wanted in zip(logits.shape[-2:], labels.shape[-2:], strict=True)):
        raise ValueError(f"logits {tuple(logits.shape)} are larger than the labels {tuple(labels.shape)}: "
                         "a criterion raises logits to the labels, never the other way")
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():    # a GPU would have to stop for it
        stray = ((labels < 0) | (labels >= logits.shape[1])) & (labels != ignore_label)
        if stray.any():
            found = ", ".join(str(each) for each in labels[stray].unique().tolist()[:5])
            raise ValueError(f"labels hold {found}, neither a class of the logits (0 to {logits.shape[1] - 1}) nor the "
                             f"ignored value ({ignore_label}): raw ids that were not mapped to train ids, or a network "
                             "built for another number of classes")


class _ChunkedUpsample(torch.autograd.Function):
    """`per_band` over rows (N, K, H, w) that are widened band by band, once more in the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, width: int, per_band: PerBand, summed: bool) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.width, ctx.per_band, ctx.summed = width, per_band, summed
        with _as_it_is(rows):
            widen = _widening(rows, width)
            parts = [per_band(widen(rows[:, :, band]), band) for band in _bands(rows, width)]
        return torch.stack(parts).sum(0) if summed else torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        rows, = ctx.saved_tensors
        grad_rows = torch.empty_like(rows)
        with _as_it_is(rows):
            widen = _widening(rows, ctx.width)
            for band in _bands(rows, ctx.width):
                part = rows[:, :, band].detach().requires_grad_()
                with torch.enable_grad():
                    result = ctx.per_band(widen(part), band)
                grad = grads[0] if ctx.summed else grads[0][:, band]
                grad_rows[:, :, band], = torch.autograd.grad(result, part, grad)
        return grad_rows, None, None, None


def _as_it_is(tensor: Tensor) -> torch.autocast:
    """Returns a context without autocast, which would turn the product that widens a band into half precision."""
    return torch.autocast(tensor.device.type, enabled=False)


def _bands(rows: Tensor, width: int) -> list[slice]:
    batch, classes, height, _ = rows.shape
    step = max(1, BAND_VALUES // (batch * classes * width))
    return [slice(first, min(first + step, height)) for first in range(0, height, step)]


def _widening(rows: Tensor, width: int) -> Callable[[Tensor], Tensor]:
    """Returns what resizes a band of rows like these, (N, K, h, w), to a width with aligned corners."""
    narrow = rows.shape[-1]
    if rows.is_cuda or narrow > NARROW:
        return lambda band: _resize(band, (band.shape[-2], width))
    identity = torch.eye(narrow, dtype=rows.dtype, device=rows.device)[None]
    matrix = F.interpolate(identity, size=width, mode="linear", align_corners=True)[0]           # (w, W)
    return lambda band: band @ matrix


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=True)
