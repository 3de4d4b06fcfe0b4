"""Draws the shapes of an image into a map of class ids, and counts overlaps and lost shapes."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tools.import_labels.shapes import IGNORED_NAME, Shape, Window
from utils import IGNORE_LABEL

# value of pixels that no shape covers, until the image is done
UNLABELED = 254
# Annotation tools let an outline end slightly beyond the border.
BORDER = 1.0
# the shape to which a pixel belongs that several shapes cover
LAST, SMALLEST, IGNORE = "last", "smallest", "ignore"
OVERLAPS = (LAST, SMALLEST, IGNORE)


@dataclass
class Tally:
    """What was drawn, and what was left out.

    Attributes:
        pixels: train id -> number of its pixels.
        overlaps: (upper train id, lower train id) -> number of pixels that both cover.
        overlapping_images: number of images with such pixels.
        without_class: name that is no class -> number of its shapes, which are ignored areas.
        partly_outside, outside: number of shapes that reach beyond their image; that lie beyond it.
        without_pixels: number of shapes within the image that cover no pixel's center.
        unlabeled: number of pixels that no shape covers.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    overlaps: Counter[tuple[int, int]] = field(default_factory=Counter)
    overlapping_images: int = 0
    without_class: Counter[str] = field(default_factory=Counter)
    partly_outside: int = 0
    outside: int = 0
    without_pixels: int = 0
    unlabeled: int = 0


class _Area(NamedTuple):
    """A shape's class id and pixels."""

    train_id: int
    order: int
    size: int
    window: Window


def draw(shapes: Sequence[Shape], ids: Mapping[str, int], size: tuple[int, int], overlap: str,
         tally: Tally, background: int = IGNORE_LABEL) -> np.ndarray:
    """Returns the label map (H, W) uint8 of an image.

    Args:
        ids: name -> train id. Shapes of other names become ignored areas: what they cover belongs
            to no class.
        size: (height, width).
        overlap: one of `OVERLAPS`.
        tally: gets the counts of this image added.
        background: value of pixels that no shape covers.
    """
    areas = _areas(shapes, ids, size, tally)
    # stable, so that equal shapes keep the order of the file
    areas.sort(key=lambda area: (area.order, -area.size if overlap == SMALLEST else 0))
    label = np.full(size, UNLABELED, np.uint8)
    contested = np.zeros(size, bool)
    pairs: Counter[tuple[int, int]] = Counter()
    for area in areas:
        rows, columns = area.window.slices
        below, mask = label[rows, columns], area.window.mask
        others = mask & (below != UNLABELED) & (below != area.train_id)
        if others.any():
            contested[rows, columns] |= others
            counts = np.bincount(below[others])
            for train_id in np.flatnonzero(counts).tolist():
                pairs[area.train_id, train_id] += int(counts[train_id])
        below[mask] = area.train_id
    if overlap == IGNORE:
        label[contested] = IGNORE_LABEL
    counts = np.bincount(label.ravel(), minlength=256)
    tally.unlabeled += int(counts[UNLABELED])
    tally.pixels.update({train_id: int(counts[train_id]) for train_id in ids.values()})
    tally.pixels[IGNORE_LABEL] += int(counts[IGNORE_LABEL])
    tally.overlaps.update(pairs)
    tally.overlapping_images += bool(pairs)
    label[label == UNLABELED] = background
    return label


def _areas(shapes: Sequence[Shape], ids: Mapping[str, int], size: tuple[int, int],
           tally: Tally) -> list[_Area]:
    areas = []
    for shape in shapes:
        window, beyond = shape.fill(*size)
        covered = int(window.mask.sum())
        if not covered and beyond > BORDER:
            tally.outside += 1
        elif not covered:
            tally.without_pixels += 1
        elif beyond > BORDER:
            tally.partly_outside += 1
        if shape.name not in ids and shape.name != IGNORED_NAME:
            tally.without_class[shape.name] += 1
        train_id = ids.get(shape.name, IGNORE_LABEL)
        areas.append(_Area(train_id, shape.order, covered, window))
    return areas
