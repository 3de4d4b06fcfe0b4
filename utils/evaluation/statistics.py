"""How sure a mean IoU is: intervals over the images, and a test between two models on the same images."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Comparison(NamedTuple):
    """Model A against model B on the same images: `difference` is A's mean IoU minus B's, in [-1, 1].

    `low` and `high` hold 95 % (or as asked) of the differences over resampled images; `p_value` is the chance of a
    difference at least as large if it did not matter which of the two models parsed which image.
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(matrices: np.ndarray, repeats: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Returns the percentile interval (low, high) of the mean IoU, were other images of the same kind scored.

    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979: images are drawn anew with
    replacement, as many as there are. Frames of one video are not independent, so there the true interval is wider.

    Args:
        matrices: (M, K, K) counts of each image; rows are the truth. Those (S, M, K, K) of S models, such as one
            trained with S seeds, give the interval of their mean score, all of them on the same draw.
        repeats: draws of M images.
        level: share of the draws within the interval, (0, 1).

    Raises:
        ValueError: no images, another shape, models on other images, or a level outside (0, 1).
    """
    counts = _counts(matrices)
    return _interval(_mean_iou(draws(counts.shape[1], repeats, seed), counts), level)


def paired_test(a: np.ndarray, b: np.ndarray, repeats: int = 2000, level: float = 0.95, seed: int = 0) -> Comparison:
    """Compares two models by the counts (M, K, K) that each got on the same M images, in the same order.

    The interval is that of `bootstrap`, with both models on the same draw; the p-value is a permutation test that
    exchanges the two models' counts on a random half of the images. Counts (S, M, K, K) pool S pairs of models, such as
    pairs trained with the same seed: the mean of their differences is tested, and an image is drawn, or its counts are
    exchanged, in all pairs at once, because what makes an image hard is common to them.

    Raises:
        ValueError: the two do not hold the same images' true pixels, or see `bootstrap`.
    """
    ours, theirs = _counts(a), _counts(b)
    if np.shape(a) != np.shape(b) or not np.array_equal(np.sum(a, axis=-1), np.sum(b, axis=-1)):
        raise ValueError(f"the two models' matrices {np.shape(a)} and {np.shape(b)} do not count the same true pixels: "
                         "score both on the same images, and give them in the same order.")
    rng, images = np.random.default_rng(seed), ours.shape[1]
    all_images = np.ones((1, images))
    difference = float(_mean_iou(all_images, ours)[0] - _mean_iou(all_images, theirs)[0])
    drawn = draws(images, repeats, seed)
    low, high = _interval(_mean_iou(drawn, ours) - _mean_iou(drawn, theirs), level)
    swapped = rng.integers(0, 2, (repeats, images))
    chance = (_mean_iou(1 - swapped, ours, swapped, theirs) - _mean_iou(swapped, ours, 1 - swapped, theirs))
    extreme = int((np.abs(chance) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, low, high, (extreme + 1) / (repeats + 1))


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns Student's interval (low, high) of the mean of what the values were drawn from, were it normal.

    Raises:
        ValueError: fewer than two values, or a level outside (0, 1).
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} value(s) do not show how much values differ: give at least two.")
    half = float(stdtrit(len(values) - 1, (1 + _share(level)) / 2) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def _counts(matrices: np.ndarray) -> np.ndarray:
    """Returns (S, M, 2, K) float64: hits and union of each class in each image; all that an IoU needs, and it adds up.
    """
    found = np.asarray(matrices)
    found = found[None] if found.ndim == 3 else found
    if found.ndim != 4 or 0 in found.shape[:2] or found.shape[2] != found.shape[3]:
        raise ValueError(f"matrices {np.shape(matrices)}: give (images, classes, classes) counts of at least one image,"
                         " or (models, images, classes, classes).")
    truth = found.sum(3, dtype=np.int64)
    if (truth != truth[0]).any():
        raise ValueError("the models do not count the same true pixels: score all on the same images, and give them in "
                         "the same order.")
    hits = np.diagonal(found, axis1=2, axis2=3)
    return np.stack([hits, found.sum(2, dtype=np.int64) + truth - hits], axis=2).astype(np.float64)


def draws(images: int, repeats: int, seed: int) -> np.ndarray:
    """Returns (repeats, images): how often each image is in each draw with replacement."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), repeats)


def _mean_iou(*weighted: np.ndarray) -> np.ndarray:
    """Returns (B,): the mean IoU, over the models too, of each row of weights (B, M) over counts (S, M, 2, K), given as
    pairs that add up.
    """
    sums = sum(np.tensordot(weights.astype(np.float64), counts, axes=(1, 1))
               for weights, counts in zip(weighted[::2], weighted[1::2], strict=True))
    hits, union = np.moveaxis(np.asarray(sums), 2, 0)                           # each (B, S, K)
    there = union > 0
    iou = np.divide(hits, union, out=np.zeros_like(hits), where=there)
    means = np.divide(iou.sum(2), there.sum(2), out=np.full(iou.shape[:2], np.nan), where=there.any(2))
    return means.mean(1)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - _share(level)) / 2, (1 + level) / 2])
    return float(low), float(high)


def _share(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie between 0 and 1, such as 0.95.")
    return level
