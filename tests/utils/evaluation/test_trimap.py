from __future__ import annotations

import numpy as np
import pytest

from utils.evaluation import trimap


def halves(size: int = 8) -> np.ndarray:
    """A label map of two halves, whose border is between columns size / 2 - 1 and size / 2."""
    labels = np.zeros((4, size), np.uint8)
    labels[:, size // 2:] = 1
    return labels


@pytest.mark.parametrize(("width", "columns"), [(1, [3, 4]), (2, [2, 3, 4, 5])])
def test_the_band_has_the_pixels_within_its_width_of_another_label(
        width: int, columns: list[int]) -> None:
    band = trimap.border_band(halves(), width)
    assert [column for column in range(8) if band[:, column].all()] == columns
    assert not np.delete(band, columns, axis=1).any()


def test_a_band_may_leave_no_interior() -> None:
    assert trimap.border_band(halves(), 4).all()
    summary = trimap.summarize(np.diag([16, 16]), np.diag([16, 16]), ("a", "b"), 4)
    assert summary["share"] == 1.0 and summary["interior"]["mIoU"] is None


def test_distances_are_euclidean_and_ignored_regions_have_borders() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 255
    rows, columns = np.indices((9, 9)) - 4
    assert (trimap.border_band(labels, 3) == (np.hypot(rows, columns) <= 3)).all()
    assert not trimap.border_band(np.zeros((5, 5), np.uint8), 3).any()


def test_only_pixels_near_a_border_are_counted() -> None:
    labels, predictions = halves(), halves()
    # one error near the border, one away from it
    predictions[0, 3], predictions[0, 0] = 1, 1
    labels[1, 7] = 255
    # the band of width 1: columns 3 and 4, and the neighbors of the ignored pixel, which is not
    # counted itself: (0, 7), (2, 7), (1, 6)
    assert trimap.count(predictions, labels, 2, 1).tolist() == [[3, 1], [0, 4 + 3]]


def test_scores_near_borders_and_away_from_them_by_hand() -> None:
    total = np.array([[80, 0, 0], [0, 10, 10], [0, 0, 0]])
    border = np.array([[10, 0, 0], [0, 5, 8], [0, 0, 0]])
    summary = trimap.summarize(total, border, ("road", "pole", "sky"), 3)
    assert summary["width"] == 3
    assert summary["share"] == pytest.approx(23 / 100)
    assert summary["per_class_share"] == {"road": 1 / 8, "pole": 13 / 20, "sky": None}
    # sky: no label, but 8 and 2 predictions
    assert summary["border"]["per_class_IoU"] == pytest.approx(
        {"road": 1, "pole": 5 / 13, "sky": 0})
    assert summary["interior"]["per_class_IoU"] == pytest.approx(
        {"road": 1, "pole": 5 / 7, "sky": 0})
    assert summary["border"]["mIoU"] == pytest.approx((1 + 5 / 13) / 3)
    # 13 of the 20 pixels of pole are near a border
    assert summary["thin"] == {"classes": ["pole"], "mIoU": 0.5}
    assert summary["large"] == {"classes": ["road"], "mIoU": 1.0}


def test_images_without_borders_have_no_score_there() -> None:
    summary = trimap.summarize(np.diag([5, 0]), np.zeros((2, 2), int), ("a", "b"), 1)
    assert summary["border"] == {"mIoU": None, "per_class_IoU": {"a": None, "b": None}}
    assert summary["thin"] == {"classes": [], "mIoU": None}
    assert summary["interior"]["mIoU"] == 1.0
    assert trimap.summarize(np.zeros((2, 2), int), np.zeros((2, 2), int), "ab", 1)["share"] is None
