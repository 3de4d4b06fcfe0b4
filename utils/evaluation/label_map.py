"""From logits at a head's own stride straight to the label map: full-size logits are never held."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_VALUES = {"cpu": 1 << 20, "cuda": 1 << 25}             # logits of one band: about a CPU's caches; few launches
FEW_MIXED = 1 / 3                                           # above this share of pixels, bands are faster


def label_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the classes (N, H, W) uint8 of logits (N, K, h, w) resized to (H, W), bilinear with aligned corners.

    On a CPU most pixels need no resizing: between four logits of one class nothing else can win, for bilinear
    resizing is a weighted mean. Where the four differ, and everywhere on a GPU, the pixels' logits are worked out.
    """
    if logits.shape[-2:] == size:
        return _classes(logits)
    logits = logits.float()
    if logits.device.type == "cpu":
        found = _sparsely(logits, size)
        if found is not None:
            return found
    return _in_bands(logits, size)


def _classes(logits: Tensor) -> Tensor:
    """(N, K, ...) -> (N, ...) uint8."""
    return logits.max(dim=1).indices.to(torch.uint8)        # five times as fast as argmax on a CPU


def _axis(short: int, long: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns, for each of `long` places on an axis of `short` samples, the samples before and after, and the weight of
    the latter, [0, 1]."""
    place = torch.arange(long, device=device, dtype=torch.float32) * ((short - 1) / max(1, long - 1))
    before = place.long().clamp(max=max(0, short - 2))
    return before, (before + 1).clamp(max=short - 1), place - before


def _sparsely(logits: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Resizes only where neighboring logits differ in class; None where too many do."""
    height, width = logits.shape[-2:]
    top, bottom, down = _axis(height, size[0], logits.device)
    left, right, across = _axis(width, size[1], logits.device)
    coarse = _classes(logits)
    # Columns first: there are fewer rows then, and whole rows are quick to copy.
    nearest, beside = coarse.index_select(2, left), coarse.index_select(2, right)
    mixed = (nearest != beside).index_select(1, top) | (nearest != beside).index_select(1, bottom)
    labels = nearest.index_select(1, top)
    mixed |= labels != nearest.index_select(1, bottom)
    pixels = mixed.view(-1).nonzero()[:, 0]
    if len(pixels) > FEW_MIXED * mixed.numel():
        return None
    values, flat = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]), labels.view(-1)
    for part in pixels.split(BAND_VALUES["cpu"] // logits.shape[1]):
        image, row, column = part // (size[0] * size[1]), part // size[1] % size[0], part % size[1]
        weight = across[column][:, None]
        above, below = (torch.lerp(values[start + left[column]], values[start + right[column]], weight)
                        for start in ((image * height + side[row]) * width for side in (top, bottom)))
        flat[part] = _classes(torch.lerp(above, below, down[row][:, None]))
    return labels


def _in_bands(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes a band of rows at a time: its columns once for each row of logits, then two of those for each pixel."""
    count, classes, height, _ = logits.shape
    top, bottom, down = _axis(height, size[0], logits.device)
    starts, ends, _ = _axis(height, size[0], torch.device("cpu"))               # no copy from a GPU: it would wait
    values = BAND_VALUES.get(logits.device.type, BAND_VALUES["cpu"])
    step = max(1, values // (count * classes * size[1]))
    labels = logits.new_empty(count, *size, dtype=torch.uint8)
    for first in range(0, size[0], step):
        band = slice(first, min(first + step, size[0]))
        start, end = int(starts[first]), int(ends[band.stop - 1]) + 1
        wide = F.interpolate(logits[:, :, start:end], (end - start, size[1]), mode="bilinear", align_corners=True)
        above, below = (wide[:, :, side[band] - start] for side in (top, bottom))
        labels[:, band] = _classes(torch.lerp(above, below, down[band, None]))
    return labels
