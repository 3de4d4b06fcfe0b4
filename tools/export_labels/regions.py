"""The connected regions of a label map, and outlines that people can edit."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from tools.import_labels.shapes import Window, fill_ring
from utils import IGNORE_LABEL

# in pixels, tried in this order
TOLERANCES = (1.0, 0.5, 0.25)
# of an outline's pixels with those of its region
LEAST_IOU = 0.99


class Region(NamedTuple):
    """A region of one class whose pixels are connected by their sides."""

    train_id: int
    window: Window


def regions(label: np.ndarray, smallest: int = 1) -> list[Region]:
    """Returns the regions of a label map (H, W), those with the largest outlines first.

    Regions drawn in this order, each with its holes filled, give the label map again: what lies
    in a hole has a smaller outline and is drawn later.

    Args:
        smallest: regions of fewer pixels are left out.
    """
    found = [region for train_id in np.unique(label).tolist() if train_id != IGNORE_LABEL
             for region in _of_class(label, train_id, smallest)]
    return sorted(found, key=lambda region: -_filled(region.window.mask).sum())


def _of_class(label: np.ndarray, train_id: int, smallest: int) -> Iterator[Region]:
    mask = (label == train_id).astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    for number, (left, top, width, height, pixels) in enumerate(stats.tolist()):
        # number 0 is the rest of the picture
        if number and pixels >= smallest:
            window = numbers[top:top + height, left:left + width] == number
            yield Region(train_id, Window(top, left, window))


def outline(window: Window) -> np.ndarray:
    """Returns the outer outline of a region, (N, 2) of x and y in the image, with few points.

    It is simplified as far as its pixels agree with the filled region to `LEAST_IOU`; otherwise it
    covers exactly these pixels.
    """
    contour = _contour(window.mask)
    filled = _filled(window.mask)
    for tolerance in TOLERANCES:
        # `contour` has two steps to a pixel
        simple = cv2.approxPolyDP(contour, 2 * tolerance, closed=True)
        points = _points(simple)
        if len(points) >= 3 and _iou(points, filled) >= LEAST_IOU:
            break
    else:
        points = _points(contour)
    return points + (window.left, window.top)


def _contour(mask: np.ndarray) -> np.ndarray:
    """Returns the outer contour of a mask at twice its size, as OpenCV gives it.

    OpenCV's contours run through the centers of the outermost pixels. At twice the size they run a
    quarter of a pixel within the region, so that its pixels' centers lie inside.
    """
    large = np.pad(mask.astype(np.uint8).repeat(2, 0).repeat(2, 1), 1)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return contours[0] - 1


def _points(contour: np.ndarray) -> np.ndarray:
    """Returns positions of `_contour` in pixels: step s has its center at (s + 0.5) / 2."""
    return (contour.reshape(-1, 2) + 0.5) / 2


def _filled(mask: np.ndarray) -> np.ndarray:
    """Returns the mask with its holes filled; pixels that touch at a corner close a hole.

    OpenCV's contours close it there, too.
    """
    outside = np.pad(mask, 1).astype(np.uint8)
    cv2.floodFill(outside, None, (0, 0), 2, flags=4)
    return outside[1:-1, 1:-1] != 2


def _iou(points: np.ndarray, filled: np.ndarray) -> float:
    covered = np.zeros_like(filled)
    window = fill_ring(points, *filled.shape)
    covered[window.slices] = window.mask
    return float((covered & filled).sum() / (covered | filled).sum())
