"""From images to scores with any network: whole images or sliding windows, at several scales, mirrored or not.

A network may give logits coarser than its input. They are raised to it, turned into probabilities and added up a band
of rows at a time: on a CPU that stays in the caches and is several times as fast as whole maps, and only the sum is
ever held at the size of the input.
"""
from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.cli import add_switch, positive_int, size
from utils.evaluation.label_map import label_map

# normalized images (N, 3, H, W) -> logits (N, K, h, w), at the images' size or coarser, the corners aligned
Predict = Callable[[Tensor], Tensor]
MODES = ("sliding", "whole", "pooling")
AVERAGES = ("probabilities", "logits")
BAND_VALUES = 1 << 17       # values of one band for each thread, in float32 512 KB: about a core's second-level cache


class View(NamedTuple):
    """A window of an image, seen mirrored or not."""

    top: int
    left: int
    mirrored: bool


@dataclass(frozen=True)
class Inference:
    """How to turn images into scores.

    Args:
        mode: one of `MODES`. `sliding` parses windows of one size, `whole` images as they are, one view after the
            other, and `pooling` images as they are with all views of one size in one batch.
        crop: (height, width) of a sliding window; cut down to images that are smaller.
        overlap: the least share of a window's side that its neighbor covers too, [0, 1). Windows are spread evenly
            from border to border.
        windows_per_batch: windows of each image in one forward pass; changes speed and memory, not the result.
        scales: factors by which the images are resized before they are parsed.
        flip: whether each window is parsed mirrored as well.
        average: one of `AVERAGES`, of the windows, mirrored views and scales.
        watch: entered with "network", "resizing" or "accumulation" around that part of the work.

    Raises:
        ValueError: an unknown mode or average, or a value outside its range.
    """

    mode: str = "sliding"
    crop: tuple[int, int] = (1024, 1024)
    overlap: float = 1 / 3
    windows_per_batch: int = 1
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    average: str = "probabilities"
    watch: Callable[[str], AbstractContextManager[object]] = field(
        default=lambda part: nullcontext(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown inference mode {self.mode!r}: choose {' or '.join(MODES)}.")
        if self.average not in AVERAGES:
            raise ValueError(f"cannot average {self.average!r}: choose {' or '.join(AVERAGES)}.")
        if min(self.crop) < 1 or self.windows_per_batch < 1:
            raise ValueError(f"crop {self.crop} and windows per batch {self.windows_per_batch} must be at least 1.")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"sliding overlap {self.overlap} must be at least 0 and less than 1.")
        if not self.scales or any(not 0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales {self.scales}: give one or more positive factors, such as 0.5, 1.0, 2.0.")

    def __str__(self) -> str:
        windows = f" windows of {self.crop[0]}x{self.crop[1]} overlapping by {self.overlap:.3g}"
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        return (f"{self.mode}{windows if self.mode == 'sliding' else ''} at scale {scales}"
                f"{', mirrored as well' if self.flip else ''}{', logits averaged' * (self.average == 'logits')}")

    def settings(self) -> dict[str, Any]:
        """Returns what decides the result, under the names of the flags."""
        windows = {"crop_size": self.crop, "sliding_overlap": self.overlap} if self.mode == "sliding" else {}
        return {"inference_mode": self.mode, "scales": self.scales, "flip": self.flip, "average": self.average,
                **windows}

    def probabilities(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns (N, K, H, W) float32: the probabilities averaged over windows, mirrored views and scales.

        At each scale every pixel is averaged over the windows that cover it, at the scaled size; that average is
        resized to the image, bilinear with aligned corners.

        Args:
            images: (N, 3, H, W), normalized.

        Raises:
            ValueError: a scale leaves no pixel of the image.
        """
        total = self._total(predict, images)
        return total.softmax(dim=1) if self.average == "logits" else total

    def labels(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns the most probable classes, (N, H, W) uint8. A single view needs no softmax and no averaging."""
        full = _size(images)
        if self.is_one_view(*full):
            with self.watch("network"):
                scores = predict(images)
        else:
            scores = self._total(predict, images)
        with self.watch("accumulation"):
            return label_map(scores, full)

    def is_one_view(self, height: int, width: int) -> bool:
        """Whether images of this size are parsed once, in one piece: the labels are then those of the logits."""
        full = height, width
        return self._crop(full) == full and tuple(self.scales) == (1.0,) and not self.flip

    def _total(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns (N, K, H, W) float32: the average of what `average` names."""
        full = _size(images)
        total: Tensor | None = None
        for scaled in self._sizes(full):
            if scaled == full:
                total = self._add_views(predict, images, total)
                continue
            with self.watch("resizing"):
                views = F.interpolate(images, size=scaled, mode="bilinear", align_corners=True)
            scores = self._add_views(predict, views, None)
            with self.watch("resizing"):
                total = scores.new_zeros(*scores.shape[:2], *full) if total is None else total
                for rows, band in resized(scores, full):
                    total[:, :, rows] += band
        assert total is not None                            # __post_init__ asks for a scale
        return total

    def _add_views(self, predict: Predict, images: Tensor, total: Tensor | None) -> Tensor:
        """Adds this scale's share of the average to the total, which starts from zero when None."""
        full = _size(images)
        crop = self._crop(full)
        views = self._views(full)
        weights = {mirrored: self._weight(views, full, crop, mirrored).to(images.device) for mirrored in (False, True)}
        step = {"sliding": self.windows_per_batch, "whole": 1, "pooling": len(views)}[self.mode]
        for first in range(0, len(views), step):
            batch = views[first:first + step]
            windows = [images[:, :, view.top:view.top + crop[0], view.left:view.left + crop[1]] for view in batch]
            with self.watch("network"):
                logits = predict(torch.cat([window.flip(3) if view.mirrored else window
                                            for window, view in zip(windows, batch, strict=True)])).float()
            with self.watch("accumulation"):
                if total is None:
                    total = logits.new_zeros(len(images), logits.shape[1], *full)
                for view, part in zip(batch, logits.split(len(images)), strict=True):
                    place = slice(view.top, view.top + crop[0]), slice(view.left, view.left + crop[1])
                    self._add(total[:, :, place[0], place[1]], part.flip(3) if view.mirrored else part,
                              weights[view.mirrored][place])
        assert total is not None                            # there is a window
        return total

    def _add(self, total: Tensor, logits: Tensor, weight: Tensor) -> None:
        """Adds one window (N, K, h, w) to its place (N, K, H, W) in the total, each pixel by its weight (H, W)."""
        for rows, band in resized(logits, _size(total)):
            scores = band.softmax(dim=1) if self.average == "probabilities" else band
            total[:, :, rows].addcmul_(scores, weight[rows])

    def _sizes(self, full: tuple[int, int]) -> list[tuple[int, int]]:
        """Returns the size at each scale. Raises ValueError when one leaves nothing."""
        sizes = [(round(full[0] * scale), round(full[1] * scale)) for scale in self.scales]
        for scale, scaled in zip(self.scales, sizes, strict=True):
            if min(scaled) < 1:
                raise ValueError(f"scale {scale} leaves nothing of an image of {full[0]}x{full[1]}: drop that scale.")
        return sizes

    def _crop(self, full: tuple[int, int]) -> tuple[int, int]:
        if self.mode != "sliding":
            return full
        return min(self.crop[0], full[0]), min(self.crop[1], full[1])

    def _views(self, full: tuple[int, int]) -> list[View]:
        """Returns the windows of an image; a mirrored one is a window of the mirrored image, placed in the image."""
        height, width = self._crop(full)
        tops, lefts = (window_starts(length, crop, self.overlap)
                       for length, crop in zip(full, (height, width), strict=True))
        plain = [View(top, left, False) for top in tops for left in lefts]
        mirrored = [View(top, full[1] - width - left, True) for top in tops for left in lefts]
        return plain + mirrored * self.flip

    def _weight(self, views: list[View], full: tuple[int, int], crop: tuple[int, int], mirrored: bool) -> Tensor:
        """Returns (H, W): one over the number of windows on each pixel, and over that of flips and scales."""
        own = [view for view in views if view.mirrored == mirrored]
        rows, columns = (_coverage(length, side, {view[axis] for view in own})
                         for axis, (length, side) in enumerate(zip(full, crop, strict=True)))
        return 1 / (rows[:, None] * columns * len(self.scales) * (1 + self.flip))


def window_starts(length: int, crop: int, overlap: float) -> list[int]:
    """Returns where the fewest windows start that cover a side, evenly spread, the last ending at the border."""
    stride = max(1, int(crop * (1 - overlap)))
    gaps = math.ceil(max(0, length - crop) / stride)
    return [i * (length - crop) // gaps for i in range(gaps + 1)] if gaps else [0]


def resized(maps: Tensor, full: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Yields the bands of maps (N, K, h, w) resized to (N, K, H, W), bilinear with aligned corners: the rows, the band.

    On other devices than a CPU there is one band.
    """
    (low, narrow), (height, width) = _size(maps), full
    if maps.device.type != "cpu":
        same = (low, narrow) == full
        yield slice(height), maps if same else F.interpolate(maps, size=full, mode="bilinear", align_corners=True)
        return
    # Bilinear resizing is separable. Columns go first when that is less work, and rows as a product with the few rows
    # of the map that a band lies between: five times as fast as resizing at once.
    if narrow < width:
        maps = F.interpolate(maps, size=(low, width), mode="bilinear", align_corners=True)
    matrix = None
    if low != height:
        identity = torch.eye(low)[None]
        matrix = F.interpolate(identity, size=height, mode="linear", align_corners=True)[0].T.contiguous()     # (H, h)
    step = max(1, BAND_VALUES * torch.get_num_threads() // (maps.shape[0] * maps.shape[1] * width))
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        band = maps[:, :, rows]
        if matrix is not None:
            ratio = (low - 1) / max(1, height - 1)
            near = slice(max(0, int(rows.start * ratio) - 1), int((rows.stop - 1) * ratio) + 3)
            band = matrix[rows, near] @ maps[:, :, near]
        if narrow > width:
            band = F.interpolate(band, size=(band.shape[2], width), mode="bilinear", align_corners=True)
        yield rows, band


def _coverage(length: int, crop: int, starts: set[int]) -> Tensor:
    """Returns (length,): how many windows cover each place of a side."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start:start + crop] += 1
    return counts


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Inference"; `from_args` reads them."""
    group = parser.add_argument_group("Inference")
    group.add_argument("--inference_mode", choices=MODES, default="sliding",
                       help="windows, images as they are, or images as they are in batches")
    group.add_argument("--crop_size", type=size, default="1024",
                       help="of a sliding window, N or HEIGHTxWIDTH in pixels; an image within it is one window")
    group.add_argument("--sliding_overlap", type=_fraction, default="1/3", help="of neighboring windows, [0, 1)")
    group.add_argument("--scales", type=_scales, default="1.0", help="sizes to average over, such as 0.5,1.0,2.0")
    add_switch(group, "--flip", default=False, help="average with the mirrored image")
    group.add_argument("--average", choices=AVERAGES, default="probabilities", help="what is averaged over the views")
    group.add_argument("--batch_size", type=positive_int, default=1,
                       help="windows in one forward pass; when pooling, images of one size")


def from_args(args: Namespace) -> Inference:
    """Returns what the flags of `add_flags` ask for. Raises ValueError for a value outside its range."""
    return Inference(args.inference_mode, args.crop_size, args.sliding_overlap, args.batch_size, args.scales, args.flip,
                     args.average)


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise ArgumentTypeError(f"{text!r} is not a number or fraction such as 0.25 or 1/3") from None


def _scales(text: str) -> tuple[float, ...]:
    return tuple(_fraction(scale) for scale in text.split(","))
