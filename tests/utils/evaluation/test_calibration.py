from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.evaluation import calibration


def counts_of(rows: list[tuple[float, bool]]) -> np.ndarray:
    """The counts of pixels, each with its confidence and whether it is right."""
    confidence = torch.tensor([[row[0] for row in rows]], dtype=torch.float64)
    predictions = torch.ones(1, len(rows), dtype=torch.uint8)
    labels = torch.tensor([[1 if row[1] else 2 for row in rows]], dtype=torch.uint8)
    return calibration.count(confidence, predictions, labels)


def test_the_error_worked_out_by_hand() -> None:
    # bin 7/15 to 8/15: 4 pixels at 0.5, 3 of them right: |3/4 - 1/2| = 1/4, weight 4/6;
    # bin 14/15 to 1: 2 pixels at 0.95, both right: 0.05, weight 2/6
    rows = [(0.5, True), (0.5, True), (0.5, True), (0.5, False), (0.95, True), (0.95, True)]
    expected = 4 / 6 * 0.25 + 2 / 6 * 0.05
    counts = counts_of(rows)
    assert calibration.expected_calibration_error(counts) == pytest.approx(expected)
    summary = calibration.summarize(counts, temperature=2.0)
    assert summary["ECE"] == pytest.approx(expected)
    assert summary["error_rate"] == pytest.approx(1 / 6)
    assert summary["temperature"] == 2.0
    assert summary["bins"][7] == {"from": 7 / 15, "to": 8 / 15, "pixels": pytest.approx(4 / 6),
                                  "accuracy": 0.75, "confidence": pytest.approx(0.5)}
    assert summary["bins"][0]["accuracy"] is None


def test_errors_in_one_bin_do_not_cancel_over_bins() -> None:
    # too unsure by 1/2 in one bin and too sure by 0.95 in another
    counts = counts_of([(0.5, True), (0.95, False)])
    assert calibration.expected_calibration_error(counts) == pytest.approx((0.5 + 0.95) / 2)


def test_the_share_to_review_is_counted_from_the_least_sure() -> None:
    # ten pixels from 0.1 to 0.91 with errors in the first, second and fifth
    rows = [(0.1 + 0.09 * i, i not in (0, 1, 4)) for i in range(10)]
    counts = counts_of(rows)
    # 2 of 3 errors: the first two pixels; all 3: the first five
    assert calibration.share_to_review(counts, 2 / 3) == pytest.approx(0.2)
    assert calibration.share_to_review(counts, 1.0) == pytest.approx(0.5)
    # 0.9 * 3 = 2.7 errors: 0.7 of the way through the fifth pixel
    assert calibration.share_to_review(counts) == pytest.approx(0.47)
    curve = calibration.review_curve(counts)
    assert curve is not None
    assert [curve[0], curve[20], curve[50], curve[100]] == pytest.approx([0, 2 / 3, 1, 1])


def test_ignored_pixels_do_not_count_and_sums_are_those_of_all_images() -> None:
    probability = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    labels = torch.tensor([[1, 255], [2, 1]], dtype=torch.uint8)
    counts = calibration.count(probability, torch.ones(2, 2, dtype=torch.uint8), labels)
    assert counts.sum(1) == pytest.approx([3, 1, 1.3])
    # certainty is in the last bin
    assert counts[0, -1] == counts[1, -1] == 1
    half = counts_of([(0.5, True)]) + counts_of([(0.5, False)])
    assert calibration.expected_calibration_error(half) == 0


def test_nothing_is_defined_without_pixels_or_errors() -> None:
    empty = calibration.summarize(np.zeros((3, calibration.FINE_BINS)))
    assert empty["ECE"] is empty["review"] is empty["curve"] is empty["error_rate"] is None
    assert calibration.share_to_review(counts_of([(0.9, True)])) is None
