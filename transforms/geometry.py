"""Scale, crop, rotation and flip of a training crop."""
from __future__ import annotations

import math

import cv2
import numpy as np

from transforms.base import Focus, Pair
from utils import IGNORE_LABEL

# the mean of ImageNet, RGB: near 0 after normalization
IMAGENET_GRAY = (124, 116, 104)


class RandomScaleCrop:
    """Scales by a factor uniform in [scale_min, scale_max] and crops at a uniform position.

    Only the pixels of the crop are read: a window of round(crop / scale) source pixels is resized
    to the crop. A window larger than the image contains the image at a uniform position; the rest
    of the crop is padding, with the color `fill` and the ignored label. The image is resized
    bilinearly (by area averages below half size), the label by nearest neighbor, both aligned at
    pixel centers. With `rotate` the window is rotated about the focus, or about its center if there
    is no focus, and the parts of it outside of the image are padding too.

    Args:
        crop: (height, width) of the result.
        fill: RGB of padding, in [0, 255].
        rotate: largest angle in degrees, in either direction; 0 is off.

    Raises:
        ValueError: not 0 < scale_min <= scale_max, or the angle is not in [0, 180].
    """

    def __init__(self, crop: tuple[int, int], scale_min: float = 0.5, scale_max: float = 2.0,
                 fill: tuple[int, int, int] = IMAGENET_GRAY, rotate: float = 0.0) -> None:
        if not 0 < scale_min <= scale_max:
            raise ValueError(f"scales from {scale_min} to {scale_max} are not a range of positive "
                             "factors: give 0 < --scale_min <= --scale_max.")
        if not 0 <= rotate <= 180:
            raise ValueError(
                f"--rotate {rotate} is out of range: give the largest angle, 0 to 180 degrees.")
        self.crop = crop
        self.scale_min = scale_min
        self.scale_max = scale_max
        self.fill = fill
        self.rotate = rotate

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        scale = rng.uniform(self.scale_min, self.scale_max)
        height, width = (max(1, round(side / scale)) for side in self.crop)
        x, y = focus if focus is not None else (None, None)
        top = _start(label.shape[0], height, y, rng)
        left = _start(label.shape[1], width, x, rng)
        if self.rotate:
            pivot = focus or (left + (width - 1) / 2, top + (height - 1) / 2)
            matrix = _rotated_window(corner=(top, left), size=(height, width), crop=self.crop,
                                     pivot=pivot, degrees=rng.uniform(-self.rotate, self.rotate))
            return self._warped(image, label, matrix)

        source_rows, target_rows = _overlap(label.shape[0], top, height, self.crop[0])
        source_columns, target_columns = _overlap(label.shape[1], left, width, self.crop[1])
        size = (target_columns.stop - target_columns.start, target_rows.stop - target_rows.start)
        interpolation = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        image = cv2.resize(image[source_rows, source_columns], size, interpolation=interpolation)
        label = cv2.resize(label[source_rows, source_columns], size,
                           interpolation=cv2.INTER_NEAREST_EXACT)
        if label.shape == self.crop:
            return image, label
        padded_image = np.empty((*self.crop, 3), np.uint8)
        padded_image[:] = self.fill
        padded_image[target_rows, target_columns] = image
        padded_label = np.full(self.crop, IGNORE_LABEL, np.uint8)
        padded_label[target_rows, target_columns] = label
        return padded_image, padded_label

    def _warped(self, image: np.ndarray, label: np.ndarray, matrix: np.ndarray) -> Pair:
        """Samples the crop.

        Args:
            matrix: (2, 3), maps a pixel (x, y, 1) of the crop to its position (x, y) in the source.
        """
        height, width = self.crop
        # The bounding box of the crop's corners in the source, with a margin of a pixel for the
        # interpolation: the only part of the source that is read. `first` and `last` are (x, y).
        corners = matrix @ np.array([[0, width - 1, 0, width - 1],
                                     [0, 0, height - 1, height - 1],
                                     [1, 1, 1, 1]])
        first = np.maximum(np.floor(corners.min(1)).astype(int) - 1, 0)
        last = np.minimum(np.ceil(corners.max(1)).astype(int) + 2,
                          (label.shape[1], label.shape[0]))
        window = slice(first[1], last[1]), slice(first[0], last[0])
        matrix = matrix - np.column_stack([np.zeros((2, 2)), first])

        def sample(source: np.ndarray, interpolation: int, fill: tuple[int, ...]) -> np.ndarray:
            return cv2.warpAffine(
                np.ascontiguousarray(source[window]), matrix, (width, height), borderValue=fill,
                flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT)

        image = sample(image, cv2.INTER_LINEAR, self.fill)
        return image, sample(label, cv2.INTER_NEAREST, (IGNORE_LABEL,))


class RandomFlip:
    """Mirrors image and label left to right with a probability in [0, 1]."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        if rng.random() >= self.probability:
            return image, label
        return cv2.flip(image, 1), cv2.flip(label, 1)


def _start(length: int, window: int, focus: int | None, rng: np.random.Generator) -> int:
    """Draws the start of a window along one axis; at most 0 if it is larger than the image.

    Args:
        length: of the image.
        window: of the window, in source pixels.
        focus: the coordinate that the window must contain, or None.
    """
    low, high = min(0, length - window), max(0, length - window)
    # start <= focus < start + window
    if focus is not None and window <= length:
        low, high = max(low, focus - window + 1), min(high, focus)
    return int(rng.integers(low, high + 1))


def _overlap(length: int, start: int, window: int, crop: int) -> tuple[slice, slice]:
    """Returns the range of the image that a window shows, and the range of the crop that it fills.

    Position p of the image is at (p - start) * crop / window of the crop. The second range has at
    least one pixel.

    Args:
        length: of the image along this axis.
        start, window: start and length of the window, in source pixels.
        crop: length of the crop.
    """
    first, last = max(start, 0), min(start + window, length)
    target_first = min(round((first - start) * crop / window), crop - 1)
    target_last = max(round((last - start) * crop / window), target_first + 1)
    return slice(first, last), slice(target_first, target_last)


def _rotated_window(*, corner: tuple[int, int], size: tuple[int, int], crop: tuple[int, int],
                    pivot: tuple[float, float], degrees: float) -> np.ndarray:
    """Returns the (2, 3) matrix from a crop's pixel (x, y, 1) to its position (x, y) in the source.

    It scales the crop to the window, then rotates the window about the pivot p: q -> R (q - p) + p.

    Args:
        corner: (top, left) of the window in source pixels, before rotation.
        size: (height, width) of the window in source pixels.
        crop: (height, width) of the crop.
        pivot: (x, y) of the source about which the window is rotated.
    """
    # Resizing aligns pixel centers: output x shows the source at
    # s (x + 1/2) - 1/2 = s x + (s - 1) / 2.
    down, across = size[0] / crop[0], size[1] / crop[1]
    scale = np.array([[across, 0, corner[1] + (across - 1) / 2],
                      [0, down, corner[0] + (down - 1) / 2],
                      [0, 0, 1]])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([rotation, pivot - rotation @ pivot]) @ scale
