"""Boundary F-score: how well the predicted boundaries of the classes match the labeled ones.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 4, "Contour Accuracy F".
"""
from __future__ import annotations

import itertools
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from utils.cli import add_switch
from utils.evaluation.metrics import IGNORE_LABEL, number

# 2, 5, 9 and 12 pixels at 1024x2048
THRESHOLDS = (0.0005, 0.001875, 0.00375, 0.005)
# (down, right) to the right, lower and lower right neighbor
NEIGHBORS = ((0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class BoundaryOptions:
    """Whether boundaries are scored, and at which distances.

    Args:
        enabled: whether boundaries are scored.
        thresholds: tolerated distances, as fractions of the image's diagonal, in (0, 1).

    Raises:
        ValueError: a threshold is out of range, or there is none.
    """

    enabled: bool = False
    thresholds: tuple[float, ...] = THRESHOLDS

    def __post_init__(self) -> None:
        if not self.thresholds or not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"--eval_thresholds {self.thresholds}: give fractions of the diagonal "
                             "between 0 and 1, such as 0.001875,0.005")

    @classmethod
    def from_args(cls, args: Namespace) -> BoundaryOptions:
        """Reads the flags of `add_flags`."""
        return cls(args.evaluateF, args.eval_thresholds)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Boundaries"; `BoundaryOptions.from_args` reads them."""
    group = parser.add_argument_group("Boundaries")
    add_switch(group, "--evaluateF", default=False,
               help="also score the boundaries of the classes (boundary F)")
    group.add_argument("--eval_thresholds", type=_thresholds,
                       default=",".join(f"{threshold:g}" for threshold in THRESHOLDS),
                       help="tolerated distances between predicted and labeled boundaries, as "
                            "fractions of the image's diagonal")


def _thresholds(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value < 1 for value in values):
        raise ArgumentTypeError(f"{text!r} is not a list of fractions of the diagonal such as "
                                "0.001875,0.005")
    return values


def boundary_f(predictions: np.ndarray, labels: np.ndarray, num_classes: int,
               thresholds: Sequence[float] = THRESHOLDS,
               ignore_label: int = IGNORE_LABEL) -> np.ndarray:
    """Scores the boundaries of each class in one image, at all thresholds in one pass.

    A pixel is a boundary pixel of a class if either it or its right, lower or lower right neighbor
    belongs to the class, but not both. With B_p and B_l the boundary pixels of a class in the
    predictions and in the labels, d the Euclidean distance and r the radius of a threshold:

        precision = |{p in B_p : d(p, B_l) <= r}| / |B_p|
        recall    = |{l in B_l : d(l, B_p) <= r}| / |B_l|
        F         = 2 precision recall / (precision + recall), or 0 if both are 0

    Pixels with an ignored label belong to no class in either map.

    Args:
        predictions: (H, W) uint8 class ids.
        labels: (H, W) uint8 class ids or `ignore_label`.
        thresholds: radii as fractions of the image's diagonal; each is rounded up to whole pixels.

    Returns:
        (len(thresholds), num_classes) float64 in [0, 1]; NaN for a class without a boundary pixel
        in either map.

    Raises:
        ValueError: the maps have different sizes.
    """
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions {predictions.shape} and labels {labels.shape} must have the "
                         "same size.")
    diagonal = math.hypot(*labels.shape)
    squared_radii = np.array([math.ceil(threshold * diagonal) ** 2 for threshold in thresholds])
    predictions = np.where(labels == ignore_label, np.uint8(ignore_label), predictions)
    boundaries = zip(_boundary_pixels(predictions, num_classes),
                     _boundary_pixels(labels, num_classes), strict=True)
    scores = np.full((len(squared_radii), num_classes), np.nan)
    for class_id, (predicted, labeled) in enumerate(boundaries):
        if len(predicted) == 0 and len(labeled) == 0:
            continue
        precision = _fraction_within(predicted, labeled, labels.shape, squared_radii)
        recall = _fraction_within(labeled, predicted, labels.shape, squared_radii)
        total = precision + recall
        # F is 0 where both are 0
        scores[:, class_id] = np.divide(2 * precision * recall, total, out=np.zeros_like(total),
                                        where=total > 0)
    return scores


def mean_scores(scores: np.ndarray, thresholds: Sequence[float],
                names: Sequence[str]) -> dict[str, Any]:
    """Averages boundary F-scores over images.

    Args:
        scores: (M, T, K), the results of `boundary_f` for M images.
        thresholds: the T thresholds.
        names: the K class names.

    Returns:
        threshold -> scores in JSON types. A class without a boundary in either map of an image
        scores 1 there in `mean` and `per_class`, as is usual; `mean_present` and
        `per_class_present` leave it out.
    """
    filled = np.where(np.isnan(scores), 1.0, scores).mean(0)
    counts = (~np.isnan(scores)).sum(0)
    present = np.divide(np.nansum(scores, axis=0), counts, out=np.full(counts.shape, np.nan),
                        where=counts > 0)
    return {f"{threshold:g}": {
        "mean": float(filled[i].mean()),
        "mean_present": number(float(np.nanmean(present[i]))) if counts[i].any() else None,
        "per_class": dict(zip(names, filled[i].tolist(), strict=True)),
        "per_class_present": dict(zip(names, map(number, present[i].tolist()), strict=True)),
    } for i, threshold in enumerate(thresholds)}


def _boundary_pixels(ids: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Returns for each class the flat indices of its boundary pixels, some more than once."""
    height, width = ids.shape
    pixels, classes = [], []
    for down, right in NEIGHBORS:
        here, neighbor = ids[:height - down, :width - right], ids[down:, right:]
        # OpenCV compares no empty arrays, which an image of one row or column gives
        differs = cv2.compare(here, neighbor, cv2.CMP_NE) if here.size else here
        rows, columns = np.nonzero(differs)
        pixels += [rows * width + columns] * 2
        classes += [here[rows, columns], neighbor[rows, columns]]
    all_pixels, all_classes = np.concatenate(pixels), np.concatenate(classes)
    # a stable sort of bytes is a radix sort
    order = np.argsort(all_classes, kind="stable")
    starts = np.searchsorted(all_classes[order], np.arange(num_classes + 1))
    return [all_pixels[order[start:end]] for start, end in itertools.pairwise(starts)]


def _fraction_within(pixels: np.ndarray, targets: np.ndarray, shape: tuple[int, ...],
                     squared_radii: np.ndarray) -> np.ndarray:
    """Returns for each radius the fraction of the pixels that have a target within it.

    Without pixels the fraction is 1; with pixels but without targets it is 0.

    The squared distance separates (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled
    Functions", Theory of Computing 2012): with g(x, y) the distance from (x, y) to the nearest
    target in column x,

        d(x, y)^2 = min over dx of dx^2 + g(x + dx, y)^2.

    g is computed for all positions in two passes over the rows. The minimum over dx is computed
    only at `pixels`, and only until it is below the least radius, which is soon for most of them.

    Args:
        pixels, targets: flat indices into `shape`.
        shape: (H, W) of the image.
        squared_radii: (T,) int, in pixels.

    Returns:
        (T,) float64 in [0, 1].
    """
    pixels = np.unique(pixels)
    if len(pixels) == 0 or len(targets) == 0:
        return np.full(len(squared_radii), float(len(pixels) == 0))
    rows, columns = np.divmod(pixels, shape[1])
    target_rows, target_columns = np.divmod(targets, shape[1])
    radius = math.isqrt(squared_radii.max())
    # a box that holds all pixels and targets, with a margin for dx
    top, bottom = min(rows.min(), target_rows.min()), max(rows.max(), target_rows.max())
    left = min(columns.min(), target_columns.min()) - radius
    right = max(columns.max(), target_columns.max()) + radius
    # g, clipped at radius + 1
    vertical = np.full((bottom - top + 1, right - left + 1), radius + 1,
                       np.min_scalar_type(radius + 2))
    vertical[target_rows - top, target_columns - left] = 0
    for direction in (vertical, vertical[::-1]):
        for previous, row in itertools.pairwise(direction):
            np.minimum(row, previous + 1, out=row)

    positions = (rows - top) * vertical.shape[1] + columns - left
    nearest = _squared_distances(vertical, positions, radius, squared_radii.min())
    outside = np.array([(nearest > squared_radius).sum() for squared_radius in squared_radii])
    return 1 - outside / len(pixels)


def _squared_distances(vertical: np.ndarray, positions: np.ndarray, radius: int,
                       enough: int) -> np.ndarray:
    """Returns squared distances to the nearest target, for the positions farther than `enough`.

    Args:
        vertical: distance to the nearest target in the same column, clipped at radius + 1.
        positions: flat indices into `vertical`.
        enough: squared distance below which a position is not followed any more.
    """
    squares = np.arange(radius + 2) ** 2
    nearest = np.full(len(positions), squares[-1])
    for dx in sorted(range(-radius, radius + 1), key=abs):
        np.minimum(nearest, dx * dx + squares[vertical.take(positions + dx)], out=nearest)
        far = nearest > enough
        positions, nearest = positions[far], nearest[far]
    return nearest
