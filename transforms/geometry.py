"""Where the pixels of a training crop come from: scale, crop, flip."""
from __future__ import annotations

import cv2
import numpy as np

from transforms.base import Focus, Pair

IGNORE_LABEL = 255
IMAGENET_GREY = (124, 116, 104)                             # the ImageNet mean: near 0 after normalising


class RandomScaleCrop:
    """Scales by a factor uniform in [scale_min, scale_max] and crops at a uniform place; reads only what is kept.

    Rather than the image, the crop is scaled: its window in source pixels, crop / scale rounded, is resized to the
    crop. Where the window is larger than the image, the image lies at a uniform place in it and the rest is `fill` and
    label 255. The image is resized bilinearly (by area below half size), the label by nearest neighbour, both aligned
    at pixel centres.

    Args:
        crop: (height, width) of what is returned.
        fill: RGB of padding, in [0, 255].

    Raises:
        ValueError: the scales are not 0 < scale_min <= scale_max.
    """

    def __init__(self, crop: tuple[int, int], scale_min: float = 0.5, scale_max: float = 2.0,
                 fill: tuple[int, int, int] = IMAGENET_GREY) -> None:
        if not 0 < scale_min <= scale_max:
            raise ValueError(f"scales from {scale_min} to {scale_max} are no range of positive factors: "
                             "give 0 < --scale_min <= --scale_max.")
        self.crop = crop
        self.scale_min = scale_min
        self.scale_max = scale_max
        self.fill = fill

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus, rng: np.random.Generator) -> Pair:
        scale = rng.uniform(self.scale_min, self.scale_max)
        height, width = (max(1, round(side / scale)) for side in self.crop)
        x, y = focus if focus is not None else (None, None)
        rows = _place(label.shape[0], height, self.crop[0], y, rng)
        columns = _place(label.shape[1], width, self.crop[1], x, rng)
        (source_rows, target_rows), (source_columns, target_columns) = rows, columns
        image, label = image[source_rows, source_columns], label[source_rows, source_columns]
        size = (target_columns.stop - target_columns.start, target_rows.stop - target_rows.start)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if label.shape == self.crop:
            return image, label
        padded_image, padded_label = np.empty((*self.crop, 3), np.uint8), np.full(self.crop, IGNORE_LABEL, np.uint8)
        padded_image[:] = self.fill
        padded_image[target_rows, target_columns] = image
        padded_label[target_rows, target_columns] = label
        return padded_image, padded_label


class RandomFlip:
    """Mirrors left and right with a probability."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus, rng: np.random.Generator) -> Pair:
        if rng.random() >= self.probability:
            return image, label
        return cv2.flip(image, 1), cv2.flip(label, 1)


def _place(length: int, window: int, crop: int, focus: int | None, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draws where a window lies along one axis.

    Args:
        length: of the image.
        window: of the window, in source pixels; it becomes `crop` pixels.
        focus: the coordinate that the window must contain.

    Returns:
        The part of the source that the window shows and the part of the crop that it fills.
    """
    low, high = min(0, length - window), max(0, length - window)
    if focus is not None and window <= length:
        low, high = max(low, focus - window + 1), min(high, focus)
    start = int(rng.integers(low, high + 1))
    first, last = max(start, 0), min(start + window, length)
    target_first = min(round((first - start) * crop / window), crop - 1)
    target_last = max(round((last - start) * crop / window), target_first + 1)
    return slice(first, last), slice(target_first, target_last)
