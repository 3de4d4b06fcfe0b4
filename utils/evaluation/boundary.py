"""Boundary F-score: how well the outlines of classes are met (Perazzi et al., CVPR 2016, "Contour Accuracy F")."""
from __future__ import annotations

import itertools
import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from utils.cli import add_switch
from utils.evaluation.metrics import number

THRESHOLDS = (0.0005, 0.001875, 0.00375, 0.005)             # 2, 5, 9 and 12 pixels at 1024x2048
NEIGHBORS = ((0, 1), (1, 0), (1, 1))                       # right, lower, lower right


def boundary_f(prediction: np.ndarray, truth: np.ndarray, num_classes: int, thresholds: Sequence[float] = THRESHOLDS,
               ignore_label: int = 255) -> np.ndarray:
    """Scores the outlines of each class in an image, at all thresholds in one pass.

    A pixel is boundary of a class where one of it and its right, lower or lower-right neighbor is of the class and the
    other is not. Precision is the share of the prediction's boundary pixels that lie within the radius of one of the
    truth's; recall the other way round; F their harmonic mean. Pixels whose truth is ignored are of no class in either.

    Args:
        prediction, truth: (H, W) uint8 ids.
        thresholds: the radii as shares of the image's diagonal, rounded up to whole pixels.

    Returns:
        (len(thresholds), num_classes) float64 in [0, 1]; NaN for a class that has no boundary in either map.

    Raises:
        ValueError: maps of two sizes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape}: the two must have one size.")
    squares = np.array([math.ceil(threshold * math.hypot(*truth.shape)) ** 2 for threshold in thresholds])
    seen = np.where(truth == ignore_label, np.uint8(ignore_label), prediction)
    found, wanted = (_outlines(labels, num_classes) for labels in (seen, truth))
    scores = np.full((len(squares), num_classes), np.nan)
    for class_id, (own, true) in enumerate(zip(found, wanted, strict=True)):
        if len(own) or len(true):
            precision, recall = _met(own, true, truth.shape, squares), _met(true, own, truth.shape, squares)
            total = precision + recall
            scores[:, class_id] = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return scores


def mean_scores(scores: np.ndarray, thresholds: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    """Returns the means over images of (M, T, K) scores, by threshold, in JSON types.

    `mean` and `per_class` take a class that is in neither map of an image as met there, as the field's scores do;
    `mean_present` and `per_class_present` leave it out.
    """
    everywhere = np.where(np.isnan(scores), 1.0, scores).mean(0)                # (T, K)
    counts = (~np.isnan(scores)).sum(0)
    present = np.divide(np.nansum(scores, axis=0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return {f"{threshold:g}": {
        "mean": float(everywhere[i].mean()),
        "mean_present": number(float(np.nanmean(present[i]))) if counts[i].any() else None,
        "per_class": dict(zip(names, everywhere[i].tolist(), strict=True)),
        "per_class_present": dict(zip(names, map(number, present[i].tolist()), strict=True)),
    } for i, threshold in enumerate(thresholds)}


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Boundaries"."""
    group = parser.add_argument_group("Boundaries")
    add_switch(group, "--evaluateF", default=False, help="score the outlines of the classes as well (boundary F)")
    group.add_argument("--eval_thresholds", type=_thresholds, default=",".join(f"{each:g}" for each in THRESHOLDS),
                       help="distances within which an outline is met, as shares of the image's diagonal")


def _thresholds(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value < 1 for value in values):
        raise ArgumentTypeError(f"{text!r} is not a list of shares of the diagonal such as 0.001875,0.005")
    return values


def _outlines(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Returns for each class the flat places of its boundary pixels, some of them more than once."""
    height, width = labels.shape
    places, classes = [], []
    for down, right in NEIGHBORS:
        here, there = labels[:height - down, :width - right], labels[down:, right:]
        rows, columns = np.nonzero(cv2.compare(here, there, cv2.CMP_NE) if here.size else here)
        places += [rows * width + columns] * 2
        classes += [here[rows, columns], there[rows, columns]]
    place, owner = np.concatenate(places), np.concatenate(classes)
    order = np.argsort(owner, kind="stable")                # a radix sort for bytes
    starts = np.searchsorted(owner[order], np.arange(num_classes + 1))
    return [place[order[start:end]] for start, end in itertools.pairwise(starts)]


def _met(places: np.ndarray, targets: np.ndarray, shape: tuple[int, ...], squares: np.ndarray) -> np.ndarray:
    """Returns for each squared radius the share of places within it of a target; without places 1, if only so 0.

    Distances first go down the columns, then sideways: to a place they are dx^2 + (the distance within that column)^2
    (Felzenszwalb, Huttenlocher, "Distance Transforms of Sampled Functions", 2012). Only places are looked at sideways,
    and only until they are within the least radius, which is soon for nearly all.
    """
    places = np.unique(places)
    if not len(places) or not len(targets):
        return np.full(len(squares), float(not len(places)))
    (rows, columns), (target_rows, target_columns) = np.divmod(places, shape[1]), np.divmod(targets, shape[1])
    reach = math.isqrt(squares.max())
    top, left = min(rows.min(), target_rows.min()), min(columns.min(), target_columns.min()) - reach
    bottom, right = max(rows.max(), target_rows.max()), max(columns.max(), target_columns.max()) + reach
    away = np.full((bottom - top + 1, right - left + 1), reach + 1, np.min_scalar_type(reach + 2))
    away[target_rows - top, target_columns - left] = 0
    for direction in (away, away[::-1]):
        for before, row in itertools.pairwise(direction):
            np.minimum(row, before + 1, out=row)

    square = np.arange(reach + 2) ** 2
    waiting = (rows - top) * away.shape[1] + columns - left
    nearest = np.full(len(places), square[-1])
    for aside in sorted(range(-reach, reach + 1), key=abs):
        np.minimum(nearest, aside * aside + square[away.take(waiting + aside)], out=nearest)
        far = nearest > squares.min()
        waiting, nearest = waiting[far], nearest[far]
    return 1 - np.array([(nearest > each).sum() for each in squares]) / len(places)
