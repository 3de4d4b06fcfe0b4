"""A picture of materials: label and color of a pixel are looked up at the very end."""

from collections.abc import Sequence

import cv2
import numpy as np

from tools.make_streets.labels import BICYCLE, FENCE, SKY
from tools.make_streets.stable_random import Color

VEIL_OF_FENCE = 0x8000
VEIL_OF_BICYCLE = 0x4000
MATERIAL_BITS = 0x3FFF
CONTACT_SHADOW, SUN_SHADOW = 2, 1


class Canvas:
    """Painted from far to near. A material carries a label, a color, a distance (for fog) and a strength of texture.

    Outlines are rounded to whole pixels and filled without antialiasing by `cv2.fillConvexPoly`, whose result is the
    same in OpenCV 4.8 to 5.0 (that of `fillPoly` is not: 4.11 changed it). What one sees through (the gaps of a fence,
    the wheels of a bicycle) keeps its material and gets a veil: a high bit that changes only the label, as Cityscapes
    labels it.
    """

    def __init__(self, height: int, width: int) -> None:
        self.materials = np.zeros((height, width), np.uint16)
        self.shadows = np.zeros((height, width), np.uint8)   # 0, SUN_SHADOW or CONTACT_SHADOW, seen on ground only
        self._labels: list[int] = []
        self._colors: list[Color] = []
        self._depths: list[float] = []
        self._grains: list[float] = []
        self._grounds: list[bool] = []
        self.sky = self.material(SKY, (0.0, 0.0, 0.0), 0.0, 0.0)

    def material(self, label: int, color: Color, depth: float, grain: float = 2.0, ground: bool = False) -> int:
        """Mixes a material.

        Args:
            color: RGB in [0, 255], light and shade included, fog not.
            depth: meters from the camera; for ground it is taken from the row instead.
            grain: strength of the texture in gray levels.
        """
        self._labels.append(label)
        self._colors.append(color)
        self._depths.append(depth)
        self._grains.append(grain)
        self._grounds.append(ground)
        return len(self._labels) - 1

    def paint(self, points: np.ndarray, sizes: Sequence[int], materials: Sequence[int]) -> None:
        """Fills convex outlines in the given order: `points` (N, 2) float pixels, cut into outlines by `sizes`."""
        whole, start = _whole_pixels(points), 0
        for size, material in zip(sizes, materials, strict=True):
            cv2.fillConvexPoly(self.materials, whole[start : start + size], material)
            start += size

    def shade(self, outline: np.ndarray, kind: int) -> None:
        """Lays a shadow on the ground inside a convex outline (N, 2)."""
        cv2.fillConvexPoly(self.shadows, _whole_pixels(outline), kind)

    def veil(self, outline: np.ndarray, veil: int) -> None:
        """Gives everything inside a convex outline the veil's label, and leaves what one sees there as it is."""
        points = _whole_pixels(outline)
        height, width = self.materials.shape
        left, top = np.maximum(points.min(axis=0), 0)
        right, bottom = np.minimum(points.max(axis=0) + 1, (width, height))
        if left < right and top < bottom:
            mask = np.zeros((bottom - top, right - left), np.uint16)
            cv2.fillConvexPoly(mask, points - (left, top), veil)
            seen = self.materials[top:bottom, left:right]
            seen[...] = np.where(mask > 0, (seen & MATERIAL_BITS) | mask, seen)

    def label_ids(self) -> np.ndarray:
        """(height, width) uint8, Cityscapes label ids."""
        labels = np.zeros(0x10000, np.uint8)
        labels[: len(self._labels)] = self._labels
        labels[VEIL_OF_BICYCLE : VEIL_OF_BICYCLE + len(self._labels)] = BICYCLE
        labels[VEIL_OF_FENCE : VEIL_OF_FENCE + len(self._labels)] = FENCE
        return labels[self.materials]

    def label_table(self) -> np.ndarray:
        """(M,) uint8, the label id of every material."""
        return np.array(self._labels, np.uint8)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Color (3, M), depth (M,), grain (M,) float32 and ground (M,) bool of every material."""
        colors = np.clip(np.array(self._colors, np.float32).T, 4.0, 250.0)
        return colors, np.array(self._depths, np.float32), np.array(self._grains, np.float32), np.array(self._grounds)


def _whole_pixels(points: np.ndarray) -> np.ndarray:
    """Float pixels -> int32, far outliers pulled to where OpenCV's fixed-point numbers still hold."""
    return np.floor(np.clip(points, -16000.0, 16000.0) + 0.5).astype(np.int32)
