from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from utils.evaluation.statistics import Comparison
from utils.report import results, tables

CLASSES = ("road", "tree", "sky")
A = np.array([[90, 10, 0], [30, 30, 0], [0, 0, 0]])
B = np.array([[80, 20, 0], [6, 54, 0], [0, 0, 0]])


def test_classes_are_sorted_by_iou_with_an_absent_one_last() -> None:
    # 6/8, 9/12, predicted only, nowhere
    matrix = np.array([[6, 2, 0, 0], [0, 9, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    matrices = np.stack([matrix, matrix])
    draws = results.resampled(matrices)["per_class_IoU"]
    rows = tables.class_rows(matrices.sum(0), draws, "abcd", [""] * 4)
    assert [row["name"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["iou"] for row in rows] == ["75.0", "75.0", "0.0", None]
    assert (rows[0]["recall"], rows[0]["precision"]) == ("75.0", "100.0")
    assert rows[1]["share"] == "55.6"
    assert (rows[2]["recall"], rows[2]["precision"]) == ("–", "0.0")


def test_the_matrix_is_normalized_by_row_and_the_largest_confusion_comes_first() -> None:
    rows = tables.matrix_rows(A, CLASSES)
    assert [[cell["text"] for cell in row["cells"]] for row in rows] == [
        ["90", "10", ""], ["50", "50", ""], ["", "", ""]]
    assert 'data-n="30"' in rows[1]["cells"][0]["attributes"]
    # 100 sqrt(30 / 60)
    assert "--v:71" in rows[1]["cells"][0]["attributes"]
    confusions = tables.largest_confusions(A, CLASSES, ["x", "y", "z"])
    assert [(pair["label"], pair["prediction"], pair["share"]) for pair in confusions] == [
        ("tree", "road", "18.75 %"), ("road", "tree", "6.25 %")]


def test_two_matrices_differ_in_points_and_the_better_model_gives_the_color() -> None:
    rows = tables.difference_matrix_rows(A, B, CLASSES)
    assert [[cell["text"] for cell in row["cells"]] for row in rows] == [
        ["+10", "−10", ""], ["+40", "−40", ""], ["", "", ""]]
    css_classes = [[re.findall(r'class="(.*?)"', cell["attributes"]) for cell in row["cells"][:2]]
                   for row in rows[:2]]
    assert css_classes == [[["d a"], ["a"]], [["b"], ["d b"]]]
    assert 'data-n="30 6"' in rows[1]["cells"][0]["attributes"]
    assert "data-n" not in rows[2]["cells"][0]["attributes"]
    differences = tables.largest_confusion_differences(A, B, CLASSES, ["x", "y", "z"])
    assert [(pair["label"], pair["prediction"], pair["share"]) for pair in differences] == [
        ("tree", "road", "+15.00"), ("road", "tree", "−6.25")]


@pytest.mark.parametrize(("test", "words"), [
    (Comparison(0.02, 0.01, 0.03, 0.001),
     ("A is ahead by 2.00 points", "more than", "+1.00 to +3.00")),
    (Comparison(-0.02, -0.05, 0.01, 0.2),
     ("B is ahead by 2.00 points", "no more than", "−5.00 to +1.00")),
    (Comparison(0.0, 0.0, 0.0, 1.0), ("A and B are level", "no more than", "0.00 to 0.00")),
])
def test_a_comparison_is_a_sentence(tmp_path: Path, write_evaluation: Callable[[Path], Path],
                                    test: Comparison, words: tuple[str, ...]) -> None:
    evaluated = results.read(write_evaluation(tmp_path / "eval"))
    data = SimpleNamespace(spec=SimpleNamespace(title="CamVid"))
    sentence = tables.comparison_summary(test, evaluated, data)
    for part in (*words, "6 images of CamVid"):
        assert part in sentence
