"""Calibration: whether the confidence of a network matches its accuracy.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2. The
probability of the chosen class is the confidence of a pixel. The n labeled pixels are divided by
their confidence into M = 15 bins B_m of equal width in [0, 1]. The expected calibration error is

    ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|

with acc the share of right pixels in a bin and conf the mean confidence of its pixels. All images
are counted together. Each image is counted in `FINE_BINS` bins, which add up to the 15, so that no
image's probabilities are kept.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils import IGNORE_LABEL

BINS = 15
FINE_BINS = 100 * BINS
# share of the errors that the headline of the review catches
CAUGHT = 0.9
# points of the curve of errors over reviewed pixels
CURVE_POINTS = 101


def count(probability: Tensor, predictions: Tensor, labels: Tensor) -> np.ndarray:
    """Returns (3, FINE_BINS) float64 of an image: pixels, wrong pixels and sums of confidences.

    Args:
        probability: (H, W) of the predicted class, in [0, 1].
        predictions, labels: (H, W) train ids; pixels with an ignored label do not count.
    """
    if probability.device.type == "mps":
        # which has no float64
        probability, predictions = probability.cpu(), predictions.cpu()
    labels = labels.to(predictions.device)
    bins = (probability * FINE_BINS).to(torch.int32).clamp_(0, FINE_BINS - 1)
    # one more bin for pixels that do not count
    bins.masked_fill_(labels == IGNORE_LABEL, FINE_BINS)
    bins = bins.flatten()
    is_wrong = (predictions != labels).flatten()
    # right and wrong pixels of a bin side by side
    right_and_wrong = torch.bincount(2 * bins + is_wrong, minlength=2 * FINE_BINS + 2)
    confidence = torch.bincount(bins, probability.flatten().double(), minlength=FINE_BINS + 1)
    right, wrong = right_and_wrong.view(-1, 2)[:FINE_BINS].double().unbind(1)
    return torch.stack([right + wrong, wrong, confidence[:FINE_BINS]]).cpu().numpy()


def summarize(counts: np.ndarray, temperature: float = 1.0) -> dict[str, Any]:
    """Returns the calibration of counts (3, FINE_BINS), in JSON types; None where undefined.

    `ECE` in [0, 1]; `bins`, each with its range, its share of the pixels, its accuracy and its mean
    confidence; `error_rate`; `review`, the share of the pixels, least confident first, that must be
    reviewed to find `CAUGHT` of the errors; `curve`, the share of errors seen for shares of pixels
    reviewed in equal steps from 0 to 1.

    Args:
        temperature: by which the logits were divided, for information.
    """
    pixels, wrong, confidence = counts.reshape(3, BINS, -1).sum(2)
    total = pixels.sum()
    bins = [{"from": m / BINS, "to": (m + 1) / BINS, "pixels": _ratio(pixels[m], total),
             "accuracy": _ratio(pixels[m] - wrong[m], pixels[m]),
             "confidence": _ratio(confidence[m], pixels[m])} for m in range(BINS)]
    return {"ECE": expected_calibration_error(counts), "temperature": temperature,
            "error_rate": _ratio(wrong.sum(), total), "bins": bins,
            "review": share_to_review(counts), "curve": review_curve(counts)}


def expected_calibration_error(counts: np.ndarray) -> float | None:
    """Returns the ECE of counts (3, FINE_BINS), None without pixels.

    |B_m| (acc - conf) is the number of right pixels minus the sum of confidences.
    """
    pixels, wrong, confidence = counts.reshape(3, BINS, -1).sum(2)
    return _ratio(np.abs(pixels - wrong - confidence).sum(), pixels.sum())


def share_to_review(counts: np.ndarray, caught: float = CAUGHT) -> float | None:
    """Returns the share of the pixels, least confident first, that contains `caught` of the errors.

    Within a fine bin, errors are taken as evenly spread. None without errors.
    """
    seen_pixels, seen_errors = _cumulative(counts)
    if not seen_errors[-1]:
        return None
    target = caught * seen_errors[-1]
    index = int(np.searchsorted(seen_errors, target))
    before, after = seen_errors[index - 1], seen_errors[index]
    within = (target - before) / (after - before)
    pixels = seen_pixels[index - 1] + within * (seen_pixels[index] - seen_pixels[index - 1])
    return float(pixels / seen_pixels[-1])


def review_curve(counts: np.ndarray) -> list[float] | None:
    """Returns the share of the errors within each share of the pixels, least confident first.

    The shares of the pixels are `CURVE_POINTS` equal steps from 0 to 1. None without errors.
    """
    seen_pixels, seen_errors = _cumulative(counts)
    if not seen_errors[-1]:
        return None
    shares = np.linspace(0, 1, CURVE_POINTS)
    curve: list[float] = np.interp(shares * seen_pixels[-1], seen_pixels,
                                   seen_errors / seen_errors[-1]).round(6).tolist()
    return curve


def _cumulative(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels and errors, (FINE_BINS + 1,) each, below the upper ends of the bins."""
    pixels, errors = (np.concatenate([[0.0], np.cumsum(row)]) for row in counts[:2])
    return pixels, errors


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
