"""The table and the picture of what was kept."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.pseudo_label.report import (
    BINS,
    emptied_classes,
    format_table,
    summarize,
    write_picture,
)
from tools.pseudo_label.selection import CODES, probability_of


@pytest.fixture
def summary() -> dict[str, Any]:
    """Sky has 300 pixels of which 60 are kept, train 100 of which none is, bus has none."""
    histogram = np.zeros((3, CODES), np.int64)
    histogram[0, [41, 1500]] = 240, 60
    # 1 - 2^(-24 * 85 / 2048) = 0.499
    histogram[1, 85] = 100
    return summarize(["sky", "train", "bus"], histogram, np.array([60, 0, 0]), [0.9, 0.9, 0.9])


def test_shares_are_those_of_the_predicted_pixels(summary: dict[str, Any]) -> None:
    assert (summary["pixels"], summary["kept"], summary["kept_share"]) == (400, 60, 0.15)
    sky, train, bus = summary["classes"].values()
    assert (sky["share"], sky["kept_share"], train["kept_share"]) == (0.75, 0.2, 0.0)
    assert (bus["share"], bus["kept_share"], bus["most_probable"]) == (0.0, None, None)


def test_the_histogram_has_bins_of_equal_width(summary: dict[str, Any]) -> None:
    bins = summary["classes"]["sky"]["histogram"]
    assert len(bins) == BINS and sum(bins) == 300
    assert bins[int(probability_of(41) * BINS)] == 240 and bins[-1] == 60


def test_the_table_has_a_line_for_each_class(summary: dict[str, Any]) -> None:
    lines = format_table(summary).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "sky", "train", "bus", "all"]
    assert lines[1].split() == ["sky", "75.00", "%", "0.9000", "20.00", "%"]
    assert lines[3].split() == ["bus", "0.00", "%", "-", "-"]
    assert lines[4].split() == ["all", "classes", "15.00", "%"]


def test_an_emptied_class_is_named_with_its_share(summary: dict[str, Any]) -> None:
    assert emptied_classes(summary) == [
        "train (25.00 % of the predicted pixels, the most probable 0.499)"]


def test_the_picture_shows_every_class(summary: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_picture(tmp_path / "confidence.png", summary)
    picture = cv2.imread(str(tmp_path / "confidence.png"))
    # the orange thresholds, (213, 94, 0) in RGB
    assert (np.abs(picture.astype(int) - (0, 94, 213)).sum(2) < 30).sum() > 20
