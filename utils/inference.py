"""From images to scores with any network: whole images or sliding windows, at several scales, mirrored or not."""
from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.flags import add_switch, positive_int, size

# normalised images (N, 3, H, W) -> logits (N, K, H, W)
Predict = Callable[[Tensor], Tensor]


def whole(predict: Predict, images: Tensor) -> Tensor:
    """Returns the probabilities (N, K, H, W), float32, of the images taken at once."""
    return predict(images).float().softmax(dim=1)


def sliding(predict: Predict, images: Tensor, crop: tuple[int, int], overlap: float = 1 / 3,
            windows_per_batch: int = 1) -> Tensor:
    """Returns the probabilities of each pixel, averaged over all the windows that cover it.

    Args:
        predict: sees windows of one size, `crop` cut down to the image's height and width.
        images: (N, 3, H, W), normalised, of any size; within one crop, this is `whole`.
        crop: the windows' (height, width).
        overlap: the least share of a window's side that its neighbour covers too, [0, 1). Windows are spread evenly
            from border to border.
        windows_per_batch: windows of each image in one forward pass; changes speed and memory, not the result.

    Returns:
        (N, K, H, W) float32 on the device of the logits.
    """
    height, width = images.shape[-2:]
    crop = min(crop[0], height), min(crop[1], width)
    tops, lefts = window_starts(height, crop[0], overlap), window_starts(width, crop[1], overlap)
    windows = [(..., slice(top, top + crop[0]), slice(left, left + crop[1])) for top in tops for left in lefts]
    total = images.new_empty(0)
    for first in range(0, len(windows), windows_per_batch):
        batch = windows[first:first + windows_per_batch]
        parts = whole(predict, torch.cat([images[window] for window in batch])).split(len(images))
        if not total.numel():
            total = parts[0].new_zeros(len(images), parts[0].shape[1], height, width)
        for window, part in zip(batch, parts, strict=True):
            total[window] += part
    total /= (_coverage(height, crop[0], tops)[:, None] * _coverage(width, crop[1], lefts)).to(total.device)
    return total


def window_starts(length: int, crop: int, overlap: float) -> list[int]:
    """Returns where the fewest windows start that cover a side, evenly spread, the last ending at the border."""
    stride = max(1, int(crop * (1 - overlap)))
    gaps = math.ceil(max(0, length - crop) / stride)
    return [i * (length - crop) // gaps for i in range(gaps + 1)] if gaps else [0]


def _coverage(length: int, crop: int, starts: list[int]) -> Tensor:
    """Returns (length,): how many windows cover each place of a side."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start:start + crop] += 1
    return counts


@dataclass(frozen=True)
class Inference:
    """How to turn images into scores.

    Args:
        mode: one of `MODES`.
        crop: (height, width) of a sliding window.
        overlap: see `sliding`.
        windows_per_batch: see `sliding`.
        scales: factors by which the images are resized before they are parsed.
        flip: whether each view is parsed mirrored as well.

    Raises:
        ValueError: an unknown mode, or a value outside its range.
    """

    mode: str = "sliding"
    crop: tuple[int, int] = (1024, 1024)
    overlap: float = 1 / 3
    windows_per_batch: int = 1
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown inference mode {self.mode!r}: choose {' or '.join(MODES)}.")
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
                f"{', mirrored as well' if self.flip else ''}")

    def settings(self) -> dict[str, Any]:
        """Returns what decides the result, under the names of the flags."""
        windows = {"crop_size": self.crop, "sliding_overlap": self.overlap} if self.mode == "sliding" else {}
        return {"inference_mode": self.mode, "scales": self.scales, "flip": self.flip, **windows}

    def probabilities(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns (N, K, H, W) float32: the probabilities averaged over windows, mirrored views and scales.

        At each scale they are averaged at the scaled size and then resized to the image, bilinear with aligned corners.

        Args:
            images: (N, 3, H, W), normalised.

        Raises:
            ValueError: a scale leaves no pixel of the image.
        """
        size = images.shape[-2], images.shape[-1]
        views = []
        for scale in self.scales:
            scaled = round(size[0] * scale), round(size[1] * scale)
            if min(scaled) < 1:
                raise ValueError(f"scale {scale} leaves nothing of an image of {size[0]}x{size[1]}: drop that scale.")
            views.append(scaled)
        total: Tensor | None = None
        for scaled in views:
            view = _resize(self._view(predict, _resize(images, scaled)), size)
            total = view if total is None else total.add_(view)
        assert total is not None                            # __post_init__ asks for a scale
        return total.div_(len(views))

    def labels(self, predict: Predict, images: Tensor) -> Tensor:
        """Returns the most probable classes, (N, H, W) uint8. A single view needs no softmax and no averaging."""
        height, width = images.shape[-2:]
        scores = predict(images) if self.is_one_view(height, width) else self.probabilities(predict, images)
        return scores.max(dim=1).indices.to(torch.uint8)    # five times as fast as argmax on a CPU

    def is_one_view(self, height: int, width: int) -> bool:
        """Whether images of this size are parsed once, in one piece: the labels are then those of the logits."""
        fits = self.mode == "whole" or (height <= self.crop[0] and width <= self.crop[1])
        return fits and tuple(self.scales) == (1.0,) and not self.flip

    def _view(self, predict: Predict, images: Tensor) -> Tensor:
        mode = MODES[self.mode]
        scores = mode(predict, images, self)
        if self.flip:
            scores = (scores + mode(predict, images.flip(3), self).flip(3)) / 2
        return scores


MODES: dict[str, Callable[[Predict, Tensor, Inference], Tensor]] = {
    "whole": lambda predict, images, how: whole(predict, images),
    "sliding": lambda predict, images, how: sliding(predict, images, how.crop, how.overlap, how.windows_per_batch),
}


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Inference"; `from_args` reads them."""
    group = parser.add_argument_group("Inference")
    group.add_argument("--inference_mode", choices=MODES, default="sliding", help="windows, or images as they are")
    group.add_argument("--crop_size", type=size, default="1024",
                       help="of a sliding window, N or HEIGHTxWIDTH in pixels; an image within it is one window")
    group.add_argument("--sliding_overlap", type=_fraction, default="1/3", help="of neighbouring windows, [0, 1)")
    group.add_argument("--scales", type=_scales, default="1.0", help="sizes to average over, such as 0.5,1.0,2.0")
    add_switch(group, "--flip", default=False, help="average with the mirrored image")
    group.add_argument("--batch_size", type=positive_int, default=1, help="windows in one forward pass")


def from_args(args: Namespace) -> Inference:
    """Returns what the flags of `add_flags` ask for. Raises ValueError for a value outside its range."""
    return Inference(args.inference_mode, args.crop_size, args.sliding_overlap, args.batch_size, args.scales, args.flip)


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise ArgumentTypeError(f"{text!r} is not a number or fraction such as 0.25 or 1/3") from None


def _scales(text: str) -> tuple[float, ...]:
    return tuple(_fraction(scale) for scale in text.split(","))
