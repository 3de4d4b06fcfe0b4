from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.evaluation import calibration, scores
from utils.evaluation.records import Record, Records
from utils.evaluation.scores import ScoreOptions
from utils.logs import start_logging

RUN = {"images": 2, "classes": ["road", "sky"], "categories": ["flat", "sky"], "arch": "a",
       "snapshot_sha256": "0" * 64, "thresholds": [0.1]}
# in all: road 5 right, 1 predicted as sky; sky 4 right, 2 predicted as road
RECORDS = [
    Record(0, "a", np.array([[3, 1], [0, 2]]), np.array([[0.5, np.nan]])),
    Record(1, "b", np.array([[2, 0], [2, 2]]), np.array([[1.0, 0.5]])),
]


def test_scores_are_those_of_the_sum_of_all_images() -> None:
    summary = scores.summarize(RECORDS, RUN)
    assert summary["confusion_matrix"] == [[5, 1], [2, 4]]
    assert summary["per_class_IoU"] == pytest.approx({"road": 5 / 8, "sky": 4 / 7})
    assert summary["mIoU"] == pytest.approx((5 / 8 + 4 / 7) / 2)
    assert summary["images"] == 2
    low, high = summary["mIoU_interval"]
    assert low <= summary["mIoU"] <= high
    # a class without a boundary counts as 1 in the mean, and not at all in that of present ones
    assert summary["boundary_F"]["0.1"]["mean"] == pytest.approx((0.5 + 1 + 1 + 0.5) / 4)
    assert summary["boundary_F"]["0.1"]["mean_present"] == pytest.approx((0.75 + 0.5) / 2)


def test_correlated_images_are_drawn_together() -> None:
    summary = scores.summarize(RECORDS, {**RUN, "groups": ["drive", "drive"]})
    # every draw is the one drive
    assert summary["mIoU_interval"] == pytest.approx([summary["mIoU"]] * 2)
    assert summary["mIoU_interval_groups"] == 1
    assert "mIoU_interval_groups" not in scores.summarize(RECORDS, RUN)


def test_pixels_near_borders_are_scored_apart(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    borders = [np.array([[1, 1], [0, 1]]), np.array([[0, 0], [1, 2]])]
    records = [replace(record, border=border)
               for record, border in zip(RECORDS, borders, strict=True)]
    summary = scores.summarize(records, {**RUN, "trimap": 3})
    # near [[1, 1], [1, 3]]: IoU 1 / 3 and 3 / 5; away from it [[4, 0], [1, 1]]: 4 / 5 and 1 / 2
    assert summary["trimap"]["border"]["mIoU"] == pytest.approx((1 / 3 + 3 / 5) / 2)
    assert summary["trimap"]["interior"]["mIoU"] == pytest.approx((4 / 5 + 1 / 2) / 2)
    scores.print_scores({**summary, "mIoU_interval_groups": 7})
    out = capsys.readouterr().out
    assert "(95 % bootstrap interval over 7 groups of images: " in out
    assert "mIoU at borders         46.67 %  (50.00 % of the pixels, within 3 of a " in out
    assert "mIoU, thin classes      57.14 %  (sky)" in out
    assert "mIoU, large classes     62.50 %  (road)" in out
    assert "trimap" not in scores.summarize(RECORDS, RUN)


def test_the_calibration_is_that_of_all_images_together(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` brings it")
    start_logging()
    counts = np.zeros((2, 3, calibration.FINE_BINS))
    # one image is right at 0.9, the other wrong: right half of the time, at 0.9
    counts[:, 0, 1350], counts[1, 1, 1350], counts[:, 2, 1350] = 10, 10, 9
    records = [replace(record, calibration=count)
               for record, count in zip(RECORDS, counts, strict=True)]
    folder = Records(tmp_path, {**RUN, "temperature": 1.5}, settings={"split": "val"})
    assert scores.report_scores(folder, records, ScoreOptions())
    written = json.loads((tmp_path / "scores.json").read_text())["calibration"]
    assert written["ECE"] == pytest.approx(0.4)
    assert written["temperature"] == 1.5
    assert (tmp_path / "calibration.png").stat().st_size > 1000
    out = capsys.readouterr().out
    assert "calibration error       40.00 %  (15 bins, temperature 1.500)" in out
    # the errors are spread evenly over the pixels of the bin
    assert "90.00 % of the pixels, the least confident, hold 90 % of the errors" in out
    assert "calibration" not in scores.summarize(records, RUN)


def test_images_without_a_counted_pixel_have_no_score() -> None:
    empty = [Record(0, "a", np.zeros((2, 2), int))]
    summary = scores.summarize(empty, {**RUN, "thresholds": None})
    assert summary["mIoU"] is None and summary["mIoU_interval"] is None


def test_the_table_has_a_line_for_each_class_and_category() -> None:
    lines = scores.format_table(scores.summarize(RECORDS, RUN)).splitlines()
    assert lines[0].split() == ["class", "IoU", "precision", "recall", "F1", "pixels"]
    assert lines[1].split() == ["road", "62.50", "71.43", "83.33", "76.92", "50.00"]
    assert lines[4].split() == ["category", "IoU"]
    assert [line.split()[0] for line in lines[5:]] == ["flat", "sky"]


def test_scores_are_printed_and_written_to_both_files(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    records = Records(tmp_path, RUN, settings={"split": "val"})
    options = ScoreOptions(json_file=tmp_path / "new" / "a.json")
    assert scores.report_scores(records, RECORDS, options)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written == json.loads((tmp_path / "new" / "a.json").read_text())
    assert (written["arch"], written["settings"]) == ("a", {"split": "val"})
    out = capsys.readouterr().out
    assert "mIoU                    59.82 %" in out
    assert "boundary F at 0.1" in out


@pytest.mark.parametrize(("mean_iou", "expected"), [
    (0.785, True), (0.783, True), (0.787, True), (0.7829, False), (0.7871, False), (None, False)])
def test_the_mean_iou_is_as_expected_within_the_tolerance(
        mean_iou: float | None, expected: bool) -> None:
    options = ScoreOptions(expect=0.785, tolerance=0.002)
    assert scores.is_as_expected(mean_iou, options) is expected
    assert scores.is_as_expected(mean_iou, ScoreOptions())


def test_a_percentage_in_place_of_a_fraction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--expect 78.5 is not a fraction"):
        ScoreOptions(expect=78.5)
