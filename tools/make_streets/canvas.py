"""A picture of materials, whose labels and colors are looked up at the end."""

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
    """A picture that is painted from far to near.

    Each pixel holds the number of a material: a label, a color, a distance (for fog) and a strength
    of texture. Outlines are rounded to whole pixels and filled without antialiasing by
    `cv2.fillConvexPoly`, whose result is the same in OpenCV 4.8 to 5.0 (that of `fillPoly` changed
    in 4.11). The gaps of a fence and the wheels of a bicycle show the material behind them and get
    a veil: a high bit that changes the label only, as Cityscapes labels them.

    Attributes:
        materials: (height, width) uint16, number of the material and veils.
        shadows: (height, width) uint8, 0, SUN_SHADOW or CONTACT_SHADOW; visible on ground only.
    """

    def __init__(self, height: int, width: int) -> None:
        self.materials = np.zeros((height, width), np.uint16)
        self.shadows = np.zeros((height, width), np.uint8)
        self._labels: list[int] = []
        self._colors: list[Color] = []
        self._depths: list[float] = []
        self._grains: list[float] = []
        self._grounds: list[bool] = []
        self.sky = self.material(SKY, (0.0, 0.0, 0.0), 0.0, 0.0)

    def material(self, label: int, color: Color, depth: float, grain: float = 2.0,
                 ground: bool = False) -> int:
        """Adds a material and returns its number.

        Args:
            color: RGB in [0, 255], with light and shade, without fog.
            depth: meters from the camera; not used for ground, whose distance follows from the row.
            grain: strength of the texture in gray levels.
        """
        self._labels.append(label)
        self._colors.append(color)
        self._depths.append(depth)
        self._grains.append(grain)
        self._grounds.append(ground)
        return len(self._labels) - 1

    def paint(self, points: np.ndarray, sizes: Sequence[int], materials: Sequence[int]) -> None:
        """Fills convex outlines in the given order.

        Args:
            points: (N, 2) float pixels of all outlines, one after the other.
            sizes: number of points of each outline.
            materials: number of the material of each outline.
        """
        whole, start = _whole_pixels(points), 0
        for size, material in zip(sizes, materials, strict=True):
            cv2.fillConvexPoly(self.materials, whole[start : start + size], material)
            start += size

    def shade(self, outline: np.ndarray, kind: int) -> None:
        """Adds a shadow inside a convex outline (N, 2), in pixels."""
        cv2.fillConvexPoly(self.shadows, _whole_pixels(outline), kind)

    def veil(self, outline: np.ndarray, veil: int) -> None:
        """Gives the pixels inside a convex outline the label of a veil; their colors stay."""
        points = _whole_pixels(outline)
        height, width = self.materials.shape
        left, top = np.maximum(points.min(axis=0), 0)
        right, bottom = np.minimum(points.max(axis=0) + 1, (width, height))
        if left < right and top < bottom:
            mask = np.zeros((bottom - top, right - left), np.uint16)
            cv2.fillConvexPoly(mask, points - (left, top), veil)
            patch = self.materials[top:bottom, left:right]
            patch[...] = np.where(mask > 0, (patch & MATERIAL_BITS) | mask, patch)

    def label_ids(self) -> np.ndarray:
        """Returns (height, width) uint8 of Cityscapes label ids."""
        labels = np.zeros(0x10000, np.uint8)
        labels[: len(self._labels)] = self._labels
        labels[VEIL_OF_BICYCLE : VEIL_OF_BICYCLE + len(self._labels)] = BICYCLE
        labels[VEIL_OF_FENCE : VEIL_OF_FENCE + len(self._labels)] = FENCE
        return labels[self.materials]

    def label_table(self) -> np.ndarray:
        """Returns (M,) uint8, the label id of every material."""
        return np.array(self._labels, np.uint8)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the properties of all M materials.

        Color (3, M), depth (M,) and grain (M,) are float32, ground (M,) is bool.
        """
        colors = np.clip(np.array(self._colors, np.float32).T, 4.0, 250.0)
        depths = np.array(self._depths, np.float32)
        grains = np.array(self._grains, np.float32)
        return colors, depths, grains, np.array(self._grounds)


def _whole_pixels(points: np.ndarray) -> np.ndarray:
    """Rounds pixels to int32, clipped to the range of OpenCV's fixed-point numbers."""
    return np.floor(np.clip(points, -16000.0, 16000.0) + 0.5).astype(np.int32)
