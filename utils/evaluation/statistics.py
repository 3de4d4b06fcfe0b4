"""Uncertainty of a mean IoU: intervals over images, and a test between two models."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Comparison(NamedTuple):
    """Model A against model B on the same images.

    Attributes:
        difference: mean IoU of A minus mean IoU of B, in [-1, 1].
        low, high: interval of the difference over resampled images, 95 % by default.
        p_value: probability of a difference at least as large if the models were interchangeable.
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(matrices: np.ndarray, repeats: int = 2000, level: float = 0.95, seed: int = 0,
              groups: Sequence[str] | None = None) -> tuple[float, float]:
    """Returns the percentile bootstrap interval (low, high) of the mean IoU over images.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    With n_b the number of times that each of the M images is in draw b of M images with
    replacement, the draw's mean IoU is that of the counts sum_m n_b[m] C_m; low and high are the
    (1 - level) / 2 and (1 + level) / 2 quantiles over the draws. Images are taken as independent.
    Frames of one video are not: with `groups`, whole groups are drawn in place of images (the
    cluster or block bootstrap; Davison and Hinkley, "Bootstrap Methods and their Application",
    1997, sections 3.8 and 8.2), which makes the interval wider. It stays too narrow where groups
    are few or correlated.

    Args:
        matrices: (M, K, K) counts of each image; rows are labels. With (S, M, K, K) of S models,
            such as one network trained with S seeds, the interval is that of their mean score,
            with the same draws for all models.
        repeats: number of draws.
        level: fraction of the draws within the interval, in (0, 1).
        groups: name of the group of each image.

    Raises:
        ValueError: no images, not a group for each, another shape, models scored on different
            images, or a level outside (0, 1).
    """
    counts = _intersection_and_union(sum_groups(matrices, groups))
    return _interval(_mean_iou((draws(counts.shape[1], repeats, seed), counts)), level)


def paired_test(a: np.ndarray, b: np.ndarray, repeats: int = 2000, level: float = 0.95,
                seed: int = 0, groups: Sequence[str] | None = None) -> Comparison:
    """Compares two models by their counts on the same images.

    The interval is that of `bootstrap`, with the same draws for both models. The p-value is that of
    a paired permutation test: under the null hypothesis the models are interchangeable, so each
    image's counts are exchanged between them with probability 1/2. With d the observed difference
    and d_r that of permutation r of R:

        p = (1 + |{r : |d_r| >= |d|}|) / (R + 1)

    Args:
        a, b: (M, K, K) counts of each image, in the same order. (S, M, K, K) pools S pairs of
            models, such as pairs trained with the same seed: the mean of their differences is
            tested, and an image is drawn or exchanged in all pairs at once, because the difficulty
            of an image is common to them.
        groups: name of the group of each image; whole groups are drawn, and exchanged.

    Raises:
        ValueError: the models did not count the same labels, or see `bootstrap`.
    """
    a, b = sum_groups(a, groups), sum_groups(b, groups)
    counts_a, counts_b = _intersection_and_union(a), _intersection_and_union(b)
    if np.shape(a) != np.shape(b) or not np.array_equal(np.sum(a, axis=-1), np.sum(b, axis=-1)):
        raise ValueError(f"the two models' matrices {np.shape(a)} and {np.shape(b)} do not count "
                         "the same labels: score both on the same images, and give them in the "
                         "same order.")
    rng, images = np.random.default_rng(seed), counts_a.shape[1]
    # each image once: the observed scores
    once = np.ones((1, images))
    difference = float(_mean_iou((once, counts_a))[0] - _mean_iou((once, counts_b))[0])
    drawn = draws(images, repeats, seed)
    low, high = _interval(_mean_iou((drawn, counts_a)) - _mean_iou((drawn, counts_b)), level)
    # 1 where an image's counts are exchanged between the models
    swapped = rng.integers(0, 2, (repeats, images))
    permuted = (_mean_iou((1 - swapped, counts_a), (swapped, counts_b))
                - _mean_iou((swapped, counts_a), (1 - swapped, counts_b)))
    # the margin is for rounding: a permutation that exchanges nothing counts
    extreme = int((np.abs(permuted) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, low, high, (extreme + 1) / (repeats + 1))


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns Student's interval (low, high) of the mean of a normal distribution.

    For n values with mean m and standard deviation s (with n - 1 degrees of freedom) it is
    m - h to m + h, with h = t_{(1 + level) / 2, n - 1} s / sqrt(n).

    Raises:
        ValueError: fewer than two values, or a level outside (0, 1).
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} value(s) do not show how much values vary: give at least "
                         "two.")
    _check_level(level)
    quantile = stdtrit(len(values) - 1, (1 + level) / 2)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean - half, mean + half


def sum_groups(matrices: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Returns (..., G, K, K): the counts of each group, in the order of the groups' first images.

    Drawing a group is drawing the sum of its images: what draws images from these counts draws
    whole groups.

    Args:
        matrices: (..., M, K, K) counts of each image.
        groups: name of the group of each image; None leaves the counts of the images.

    Raises:
        ValueError: there is not a group for each image.
    """
    if groups is None:
        return matrices
    if np.ndim(matrices) < 3 or np.shape(matrices)[-3] != len(groups):
        raise ValueError(f"{len(groups)} groups for matrices {np.shape(matrices)}: give the group "
                         "of each image.")
    of_images = np.array(list(groups))
    return np.stack([np.asarray(matrices)[..., of_images == name, :, :].sum(-3, dtype=np.int64)
                     for name in dict.fromkeys(groups)], axis=-3)


def draws(images: int, repeats: int, seed: int) -> np.ndarray:
    """Returns (repeats, images) int: how often each image is in each draw with replacement."""
    probabilities = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, probabilities, repeats)


def _intersection_and_union(matrices: np.ndarray) -> np.ndarray:
    """Returns (S, M, 2, K) float64: intersection and union of each class in each image.

    Both are sums over pixels, so those of a set of images are the sums over its images.
    """
    counts = np.asarray(matrices)
    if counts.ndim == 3:
        counts = counts[None]
    if counts.ndim != 4 or 0 in counts.shape[:2] or counts.shape[2] != counts.shape[3]:
        raise ValueError(f"matrices {np.shape(matrices)}: give (images, classes, classes) counts "
                         "of at least one image, or (models, images, classes, classes).")
    labeled = counts.sum(3, dtype=np.int64)
    predicted = counts.sum(2, dtype=np.int64)
    if (labeled != labeled[0]).any():
        raise ValueError("the models do not count the same labels: score all on the same images, "
                         "and give them in the same order.")
    intersection = np.diagonal(counts, axis1=2, axis2=3)
    union = predicted + labeled - intersection
    return np.stack([intersection, union], axis=2).astype(np.float64)


def _mean_iou(*weighted_counts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns (B,): the mean IoU over classes and models of weighted sums over images.

    Args:
        weighted_counts: pairs of weights (B, M) and counts (S, M, 2, K); the weighted sums of all
            pairs are added up.
    """
    sums = sum(np.tensordot(weights.astype(np.float64), counts, axes=(1, 1))
               for weights, counts in weighted_counts)
    # each (B, S, K)
    intersection, union = np.moveaxis(np.asarray(sums), 2, 0)
    present = union > 0
    iou = np.divide(intersection, union, out=np.zeros_like(intersection), where=present)
    means = np.divide(iou.sum(2), present.sum(2), out=np.full(iou.shape[:2], np.nan),
                      where=present.any(2))
    return means.mean(1)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Returns the quantiles (1 - level) / 2 and (1 + level) / 2; NaN values are left out."""
    _check_level(level)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie between 0 and 1, such as 0.95.")
