from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from utils.evaluation import statistics
from utils.evaluation.metrics import ConfusionMatrix
from utils.report import results

CLASSES = ("road", "tree", "sky")
Counts = Callable[..., np.ndarray]
Write = Callable[[Path], Path]


def matrix_of(counts: np.ndarray) -> ConfusionMatrix:
    matrix = ConfusionMatrix(3)
    matrix.add(torch.from_numpy(counts))
    return matrix


def test_resampled_scores_have_the_interval_of_the_bootstrap(counts: Counts) -> None:
    matrices = counts(20)
    draws = results.resampled(matrices)
    expected = statistics.bootstrap(matrices)
    assert results.interval(draws["mIoU"]) == pytest.approx(expected, abs=1e-12)


def test_resampled_groups_have_the_interval_of_the_bootstrap(counts: Counts) -> None:
    matrices, groups = counts(20), [str(index // 5) for index in range(20)]
    drawn = results.resampled(matrices, groups=groups)
    expected = statistics.bootstrap(matrices, groups=groups)
    assert results.interval(drawn["mIoU"]) == pytest.approx(expected, abs=1e-12)


def test_any_draw_of_equal_images_has_their_scores(counts: Counts) -> None:
    same = np.repeat(counts(1), 5, axis=0)
    summary = matrix_of(same.sum(0)).summary(CLASSES)
    for name, values in results.resampled(same, repeats=3).items():
        expected = list(summary[name].values()) if name == "per_class_IoU" else summary[name]
        assert values == pytest.approx(np.broadcast_to(expected, values.shape), abs=1e-12)


def test_a_class_without_pixels_has_no_score_and_no_interval() -> None:
    matrix = np.diag([5, 0, 2])
    assert results.iou(matrix)[[0, 2]].tolist() == [1, 1]
    assert np.isnan(results.iou(matrix)[1])
    assert results.mean(results.iou(matrix)) == 1
    assert np.isnan(results.accuracy(np.zeros((3, 3), int)))
    assert results.interval(results.resampled(matrix[None])["per_class_IoU"][:, 1]) is None


def test_merged_classes_are_scored_as_categories_are(counts: Counts) -> None:
    matrix, categories = counts()[0], ("flat", "high", "flat")
    expected = matrix_of(matrix).category_iou(categories)
    ious = results.iou(results.merge_classes(matrix, categories))
    assert ious.tolist() == pytest.approx(list(expected.values()))


def test_an_evaluation_is_found_in_its_run_and_the_newest_is_taken(
        tmp_path: Path, write_evaluation: Write) -> None:
    old, new = (write_evaluation(tmp_path / "run" / name) for name in ("eval_b", "eval_a"))
    os.utime(old / "scores.json", (1, 1))
    assert results.find(tmp_path / "run") == new
    assert results.find(old) == old
    evaluated = results.read(new)
    # the parent folder is not a run yet
    assert evaluated.report_folder == new / "report"
    (tmp_path / "run" / "args.json").write_text("{}")
    assert evaluated.report_folder == tmp_path / "run" / "report"
    assert evaluated.title == "run"


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: (folder / "scores.json").unlink(), "holds no scores.json"),
    (lambda folder: (folder / "per_image.npz").unlink(), "holds no per_image.npz: run eval.py"),
    (lambda folder: (folder / "scores.json").write_text("{"), "damaged or of another version"),
    (lambda folder: (folder / "scores.json").write_text("{}"), "damaged or of another version"),
    (lambda folder: (folder / "per_image.npz").write_bytes(b""), r"per_image\.npz is damaged"),
    (lambda folder: (folder / "per_image.npz").write_bytes(b"<html>"),
     r"per_image\.npz is damaged"),
    (lambda folder: np.savez(folder / "per_image.npz", names=["a"],
                             matrices=np.zeros((1, 2, 2), int), classes=["road", "tree"]),
     "do not fit together"),
])
def test_an_incomplete_or_damaged_evaluation_is_refused(
        tmp_path: Path, write_evaluation: Write, spoil: Any, message: str) -> None:
    folder = write_evaluation(tmp_path / "eval")
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        results.read(results.find(folder) if (folder / "scores.json").exists() else folder)


def test_a_folder_without_an_evaluation_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run eval\.py"):
        results.find(tmp_path)
    with pytest.raises(FileNotFoundError, match="is missing: give the folder of a run"):
        results.find(tmp_path / "nothing")


def test_selected_images_keep_their_counts_in_the_given_order(
        tmp_path: Path, write_evaluation: Write, counts: Counts) -> None:
    selected = results.read(write_evaluation(tmp_path / "eval")).select([4, 2])
    assert selected.names == ("image4", "image2")
    assert np.array_equal(selected.matrices, counts()[[4, 2]])


def test_an_evaluation_of_an_older_version_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "scored"
    shutil.copytree(Path(__file__).parents[1] / "evaluation" / "old_folder", folder)
    evaluated = results.read(folder)
    assert evaluated.matrices.shape == (len(evaluated.names), *[len(evaluated.classes)] * 2)
    total = ConfusionMatrix(len(evaluated.classes))
    total.add(torch.from_numpy(evaluated.matrices.sum(0)))
    assert total.mean_iou() == pytest.approx(evaluated.scores["mIoU"], abs=1e-9)
