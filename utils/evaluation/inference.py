"""From images to class probabilities: whole images or sliding windows, scales and flipped views.

A network may return logits coarser than its input. They are resized, turned into probabilities and
added up a chunk of rows at a time: on a CPU a chunk stays in the caches, which is several times as
fast as whole maps, and only the sum is held at the size of the image.
"""
from __future__ import annotations

import math
import warnings
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor

from utils.cli import add_switch, crop, positive_int
from utils.evaluation.confidence import (
    MEASURES,
    Confidence,
    confidence_maps,
    log_probabilities,
    sharpened,
)
from utils.evaluation.label_map import label_map
from utils.resizing import for_each_chunk, matrix_rows, resize

# normalized images (N, 3, H, W) -> logits (N, K, h, w), at the images' size or coarser with aligned
# corners
Predict = Callable[[Tensor], Tensor]
MODES = ("sliding", "whole", "pooling")
AVERAGES = ("probabilities", "logits")
# values in one chunk, in float32 512 KB: about a core's second-level cache
CHUNK_VALUES = 1 << 17
# flags of `add_flags` and of the precision that make predictions need less memory
LESS_MEMORY = "a smaller --crop_size, smaller --scales, --batch_size 1 or --precision bf16"


class View(NamedTuple):
    """A window of the image; a flipped one is flipped before the network and back after it."""

    top: int
    left: int
    flipped: bool


@dataclass(frozen=True)
class InferenceOptions:
    """How images are turned into class probabilities.

    Args:
        mode: one of `MODES`. `sliding` predicts windows of one size, `whole` predicts whole images,
            one view after the other, and `pooling` whole images, all views of one size in a batch.
        crop: (height, width) in pixels of a sliding window; smaller images are one window.
        overlap: smallest fraction of a window's side that the next one covers too, in [0, 1).
            Windows are spaced evenly from border to border.
        windows_per_batch: windows of each image in one forward pass. It changes speed and memory,
            not the result.
        scales: factors by which the images are resized before prediction.
        flip: average with the flipped views.
        average: one of `AVERAGES`, what is averaged over windows, flipped views and scales.
        watch: context manager entered with "network", "resizing" or "accumulation" around that part
            of the work, for measurements.

    Raises:
        ValueError: a name is unknown or a value is out of range.
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

    @classmethod
    def from_args(cls, args: Namespace) -> InferenceOptions:
        """Reads the flags of `add_flags`. Raises ValueError if a value is out of range."""
        return cls(mode=args.inference_mode, crop=args.crop_size, overlap=args.sliding_overlap,
                   windows_per_batch=args.batch_size, scales=args.scales, flip=args.flip,
                   average=args.average)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                f"unknown inference mode {self.mode!r}: choose {' or '.join(MODES)}.")
        if self.average not in AVERAGES:
            raise ValueError(f"cannot average {self.average!r}: choose {' or '.join(AVERAGES)}.")
        if min(self.crop) < 1 or self.windows_per_batch < 1:
            raise ValueError(f"crop {self.crop} and windows per batch {self.windows_per_batch} "
                             "must be at least 1.")
        if not 0 <= self.overlap < 1:
            raise ValueError(
                f"sliding overlap {self.overlap} must be at least 0 and less than 1.")
        if not self.scales or any(not 0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales {self.scales}: give one or more positive factors, "
                             "such as 0.5, 1.0, 2.0.")

    def __str__(self) -> str:
        text = self.mode
        if self.mode == "sliding":
            text += f" windows of {self.crop[0]}x{self.crop[1]} overlapping by {self.overlap:.3g}"
        text += f" at scale {', '.join(f'{scale:g}' for scale in self.scales)}"
        if self.flip:
            text += ", flipped as well"
        if self.average == "logits":
            text += ", logits averaged"
        return text

    def settings(self) -> dict[str, Any]:
        """Returns the settings that change the result, under the names of the flags."""
        settings: dict[str, Any] = {"inference_mode": self.mode, "scales": self.scales,
                                    "flip": self.flip, "average": self.average}
        if self.mode == "sliding":
            settings.update(crop_size=self.crop, sliding_overlap=self.overlap)
        return settings

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> InferenceOptions:
        """Returns the options of an evaluation from the settings that it stored.

        Args:
            settings: as `settings` returns them, in JSON types. Settings that older versions did
                not store have their defaults.

        Raises:
            KeyError: the mode, the scales or the flip is missing.
        """
        default = cls()
        return cls(mode=settings["inference_mode"],
                   crop=tuple(settings.get("crop_size", default.crop)),
                   overlap=settings.get("sliding_overlap", default.overlap),
                   scales=tuple(settings["scales"]), flip=settings["flip"],
                   average=settings.get("average", default.average))

    def flags(self) -> list[str]:
        """Returns the words of a command line that set the options in which these differ from the
        defaults of `add_flags`.
        """
        default = InferenceOptions()
        values = {"--inference_mode": (self.mode, default.mode),
                  "--crop_size": ("x".join(map(str, self.crop)),
                                  "x".join(map(str, default.crop))),
                  "--sliding_overlap": (f"{self.overlap:.6g}", f"{default.overlap:.6g}"),
                  "--scales": (",".join(map(str, self.scales)),
                               ",".join(map(str, default.scales))),
                  "--average": (self.average, default.average)}
        words = [word for flag, (value, usual) in values.items() if value != usual
                 for word in (flag, value)]
        return [*words, "--flip"] if self.flip else words

    def probabilities(self, predict: Predict, images: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns probabilities averaged over windows, flipped views and scales, (N, K, H, W).

        At each scale every pixel is averaged over the windows that cover it, at the scaled size.
        The average is resized to the image, bilinear with aligned corners.

        Args:
            images: (N, 3, H, W), normalized.
            temperature: see `confidence.sharpened`; applied to the average.

        Raises:
            ValueError: a scale leaves no pixel of the image.
        """
        total = self._averaged_scores(predict, images)
        if self.average == "logits":
            return (total / temperature).softmax(dim=1)
        return sharpened(total, temperature)

    def labels(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns the most probable classes, (N, H, W) uint8.

        A single view needs neither softmax nor average: both keep the order of the classes.
        """
        scores = self._scores(predict, images)
        with self.watch("accumulation"):
            return label_map(scores, _size(images))

    def confidence(self, predict: Predict, images: Tensor, temperature: float = 1.0,
                   measures: Sequence[str] = MEASURES) -> Confidence:
        """Returns the labels of `labels`, with maps of their confidence.

        Args:
            temperature: as in `probabilities`.
            measures: some of `confidence.MEASURES`.
        """
        full_size = _size(images)
        scores = self._scores(predict, images)
        with self.watch("accumulation"):
            labels = label_map(scores, full_size)
            if self.average == "probabilities" and not self.is_one_view(*full_size):
                scores = log_probabilities(scores)
            maps = confidence_maps(scores / temperature, full_size, measures)
        return Confidence(labels, maps)

    def _scores(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns scores whose arg max is the label, (N, K, h, w).

        For one view these are its logits, perhaps coarser than the images; otherwise the average
        of `average` over the views.
        """
        if self.is_one_view(*_size(images)):
            with self.watch("network"):
                return predict(images)
        return self._averaged_scores(predict, images)

    def is_one_view(self, height: int, width: int) -> bool:
        """Returns whether the prediction for images of this size is one forward pass over them."""
        full_size = height, width
        is_one_window = self._window_size(full_size) == full_size
        return is_one_window and tuple(self.scales) == (1.0,) and not self.flip

    def _averaged_scores(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns the average of probabilities or logits, (N, K, H, W) float32."""
        full_size = _size(images)
        total: Tensor | None = None
        for scaled_size in self._scaled_sizes(full_size):
            if scaled_size == full_size:
                total = self._add_views(predict, images, total)
                continue
            with self.watch("resizing"):
                scaled_images = resize(images, scaled_size)
            scores = self._add_views(predict, scaled_images, None)
            with self.watch("resizing"):
                if total is None:
                    total = scores.new_zeros(*scores.shape[:2], *full_size)
                add_resized(total, scores)
        # __post_init__ requires a scale
        assert total is not None
        return total

    def _add_views(self, predict: Predict, images: Tensor, total: Tensor | None) -> Tensor:
        """Adds the views of one scale, plain and flipped, to the average; returns it.

        The weights of a pixel sum to 1 over its windows, flips and scales, so the sum is the
        average.

        Args:
            images: at this scale.
            total: (N, K, H, W); None starts from zero.
        """
        full_size = _size(images)
        height, width = self._window_size(full_size)
        views = self._views(full_size)
        weights = {flipped: self._pixel_weights(views, full_size, flipped).to(images.device)
                   for flipped in {view.flipped for view in views}}
        batch_sizes = {"sliding": self.windows_per_batch, "whole": 1, "pooling": len(views)}
        batch_size = batch_sizes[self.mode]
        for first in range(0, len(views), batch_size):
            batch = views[first:first + batch_size]
            windows = [images[:, :, view.top:view.top + height, view.left:view.left + width]
                       for view in batch]
            with self.watch("network"):
                inputs = [_flip_if(view.flipped, window)
                          for view, window in zip(batch, windows, strict=True)]
                logits = predict(torch.cat(inputs)).float()
            with self.watch("accumulation"):
                if total is None:
                    total = logits.new_zeros(len(images), logits.shape[1], *full_size)
                for view, outputs in zip(batch, logits.split(len(images)), strict=True):
                    rows = slice(view.top, view.top + height)
                    columns = slice(view.left, view.left + width)
                    # a flipped view is flipped back before it is added
                    self._add(total[:, :, rows, columns], _flip_if(view.flipped, outputs),
                              weights[view.flipped][rows, columns])
        # every image has a window
        assert total is not None
        return total

    def _add(self, total: Tensor, logits: Tensor, weights: Tensor) -> None:
        """Adds the probabilities or logits of a window to the average, in place.

        Args:
            total: (N, K, H, W), the window's part of the average.
            logits: (N, K, h, w) of the window, perhaps coarser.
            weights: (H, W) of each pixel.
        """
        def add_rows(rows: slice, chunk: Tensor) -> None:
            scores = chunk.softmax(dim=1) if self.average == "probabilities" else chunk
            total[:, :, rows].addcmul_(scores, weights[rows])

        for_each_chunk(logits, _size(total), matrix_rows, _chunk_values(logits), add_rows)

    def _scaled_sizes(self, full_size: tuple[int, int]) -> list[tuple[int, int]]:
        """Returns (height, width) at each scale. Raises ValueError if a scale leaves no pixel."""
        height, width = full_size
        sizes = [(round(height * scale), round(width * scale)) for scale in self.scales]
        for scale, scaled_size in zip(self.scales, sizes, strict=True):
            if min(scaled_size) < 1:
                raise ValueError(f"scale {scale} leaves nothing of an image of {height}x{width}: "
                                 "drop that scale.")
        return sizes

    def _window_size(self, full_size: tuple[int, int]) -> tuple[int, int]:
        if self.mode != "sliding":
            return full_size
        return min(self.crop[0], full_size[0]), min(self.crop[1], full_size[1])

    def _views(self, full_size: tuple[int, int]) -> list[View]:
        """Returns the windows of the image, followed by those of the flipped image if `flip`.

        `left` counts in the image in both cases, so a window that begins at x in the flipped image
        begins at W - width - x.
        """
        height, width = self._window_size(full_size)
        tops = window_starts(full_size[0], height, self.overlap)
        lefts = window_starts(full_size[1], width, self.overlap)
        views = [View(top, left, flipped=False) for top in tops for left in lefts]
        if self.flip:
            views += [View(top, full_size[1] - width - left, flipped=True)
                      for top in tops for left in lefts]
        return views

    def _pixel_weights(self, views: list[View], full_size: tuple[int, int],
                       flipped: bool) -> Tensor:
        """Returns (H, W): 1 / (windows on the pixel x scales x 2 if there are flipped views)."""
        height, width = self._window_size(full_size)
        chosen = [view for view in views if view.flipped == flipped]
        rows = _coverage(full_size[0], height, {view.top for view in chosen})
        columns = _coverage(full_size[1], width, {view.left for view in chosen})
        num_flips = 2 if self.flip else 1
        return 1 / (rows[:, None] * columns * len(self.scales) * num_flips)


def window_starts(length: int, crop: int, overlap: float) -> list[int]:
    """Returns where windows start along a side: the fewest that cover it, spaced evenly.

    With n gaps between the windows, window i starts at floor(i (length - crop) / n): the first
    window starts at 0 and the last one ends at the border.

    Args:
        length: of the side, in pixels.
        crop: of a window.
        overlap: smallest fraction of a window that the next one covers too, in [0, 1).
    """
    stride = max(1, int(crop * (1 - overlap)))
    gaps = math.ceil(max(0, length - crop) / stride)
    if gaps == 0:
        return [0]
    return [i * (length - crop) // gaps for i in range(gaps + 1)]


def add_resized(total: Tensor, maps: Tensor) -> None:
    """Adds maps (N, K, h, w), resized, to `total` (N, K, H, W)."""

    def add_rows(rows: slice, chunk: Tensor) -> None:
        total[:, :, rows] += chunk

    for_each_chunk(maps, _size(total), matrix_rows, _chunk_values(maps), add_rows)


def _chunk_values(maps: Tensor) -> int | None:
    """Returns the values of a chunk: on a CPU it fits the caches, elsewhere all rows are one."""
    return CHUNK_VALUES if maps.device.type == "cpu" else None


def _flip_if(flipped: bool, maps: Tensor) -> Tensor:
    """Mirrors (N, C, H, W) left to right, or returns it unchanged."""
    return maps.flip(3) if flipped else maps


def _coverage(length: int, crop: int, starts: set[int]) -> Tensor:
    """Returns (length,) float32: how many windows cover each position along a side."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start:start + crop] += 1
    return counts


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Inference", which `InferenceOptions.from_args` reads."""
    group = parser.add_argument_group("Inference")
    group.add_argument("--inference_mode", choices=MODES, default="sliding",
                       help="sliding windows, whole images one by one, or whole images with all "
                            "views of one size in a batch")
    group.add_argument("--crop_size", type=crop, default=(1024, 1024),
                       help="size of a sliding window in pixels, N or HEIGHTxWIDTH; a smaller "
                            "image is one window")
    group.add_argument("--sliding_overlap", type=_fraction, default="1/3",
                       help="smallest overlap of neighboring windows, a fraction in [0, 1)")
    group.add_argument("--scales", type=_scales, default="1.0",
                       help="scales to average over, such as 0.5,1.0,2.0")
    add_switch(group, "--flip", default=False, help="average with the flipped image")
    group.add_argument("--average", choices=AVERAGES, default="probabilities",
                       help="what is averaged over windows, flipped views and scales")
    group.add_argument("--batch_size", type=positive_int, default=1,
                       help="windows in one forward pass; with pooling, images of one size")


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise ArgumentTypeError(
            f"{text!r} is not a number or fraction such as 0.25 or 1/3") from None


def _scales(text: str) -> tuple[float, ...]:
    return tuple(_fraction(scale) for scale in text.split(","))


def __getattr__(name: str) -> Any:
    if name != "Inference":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("Inference is now InferenceOptions; the next release drops the old name",
                  DeprecationWarning, stacklevel=2)
    return InferenceOptions
