"""The cross entropy of every pixel, without holding the full-size logits: what the criteria here are made of."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_VALUES = 1 << 21       # logits of one band, in float32 8 MB: about a CPU's second-level caches
NARROW = 128                # up to this width a CPU widens rows faster by a dense product, and 3 times so backwards


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    """Returns the cross entropy of each pixel, (N, H, W) in float32; 0 where the label is ignored.

    Args:
        logits: (N, K, h, w) in any precision. Smaller ones are resized to the labels with aligned corners, a band of
            rows at a time, forwards and backwards, so that no full-size logits are ever held.
        labels: (N, H, W) int64 in [0, K) or `ignore_label`.

    Raises:
        ValueError: the batches differ, or the logits are larger than the labels.
    """
    _check(logits, labels)
    if logits.shape[-2:] == labels.shape[-2:]:
        return _losses(logits.float(), labels, ignore_label)
    # Bilinear resizing is separable: rows first at the logits' own width, which is small, then each band's width.
    rows = _resize(logits.float(), (labels.shape[-2], logits.shape[-1]))
    return _BandedCrossEntropy.apply(rows, labels, ignore_label)


def mean_over(values: Tensor, kept: Tensor) -> Tensor:
    """Returns the mean of the kept values; exactly 0, with zero gradient, where nothing is kept."""
    return (values * kept).sum() / kept.sum().clamp(min=1)


class _BandedCrossEntropy(torch.autograd.Function):
    """Cross entropy of rows (N, K, H, w) against labels (N, H, W); each band is widened again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
        ctx.save_for_backward(rows, labels)
        ctx.ignore_label = ignore_label
        widen = _widening(rows, labels.shape[-1])
        bands = [_losses(widen(rows[:, :, band]), labels[:, band], ignore_label) for band in _bands(rows, labels)]
        return torch.cat(bands, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rows, labels = ctx.saved_tensors
        grad_rows = torch.empty_like(rows)
        widen = _widening(rows, labels.shape[-1])
        for band in _bands(rows, labels):
            part = rows[:, :, band].detach().requires_grad_()
            with torch.enable_grad():
                losses = _losses(widen(part), labels[:, band], ctx.ignore_label)
            grad_rows[:, :, band], = torch.autograd.grad(losses, part, grads[0][:, band])
        return grad_rows, None, None


def _losses(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=ignore_label, reduction="none")


def _bands(rows: Tensor, labels: Tensor) -> list[slice]:
    batch, height, width = labels.shape
    step = max(1, BAND_VALUES // (batch * rows.shape[1] * width))
    return [slice(first, min(first + step, height)) for first in range(0, height, step)]


def _widening(rows: Tensor, width: int) -> Callable[[Tensor], Tensor]:
    """Returns what resizes a band of rows like these, (N, K, h, w), to a width with aligned corners."""
    narrow = rows.shape[-1]
    if rows.is_cuda or narrow > NARROW:
        return lambda band: _resize(band, (band.shape[-2], width))
    identity = torch.eye(narrow, dtype=rows.dtype, device=rows.device)[None]
    matrix = F.interpolate(identity, size=width, mode="linear", align_corners=True)[0]           # (w, W)
    return lambda band: band @ matrix


def _resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=True)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not belong together: "
                         "expected (N, K, h, w) and (N, H, W) with the same N")
    if any(own > wanted for own, wanted in zip(logits.shape[-2:], labels.shape[-2:], strict=True)):
        raise ValueError(f"logits {tuple(logits.shape)} are larger than the labels {tuple(labels.shape)}: "
                         "a criterion raises logits to the labels, never the other way")
