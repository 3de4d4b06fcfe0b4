"""What a report is made of; its page in a browser: tests/tools/test_report_page.py."""
from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from utils.evaluation import statistics
from utils.evaluation.metrics import ConfusionMatrix
from utils.report import charts, gallery, page, pictures, results, tables
from utils.visualization import flow as flows

CLASSES = ("road", "tree", "sky")


def counts(images: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, (images, 3, 3)) + 300 * np.eye(3, dtype=int)


def write(folder: Path, matrices: np.ndarray, **changes: Any) -> Path:
    """An evaluation's folder, as eval.py leaves it."""
    total = ConfusionMatrix(len(CLASSES))
    total.add(torch.from_numpy(matrices.sum(0)))
    scores = {**total.summary(CLASSES), "arch": "sfnet_dfnetv1", "snapshot_sha256": "0" * 64,
              "settings": {"dataset": "camvid", "split": "val", "snapshot": "last.pth"}, **changes}
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(scores))
    np.savez(folder / "per_image.npz", names=[f"image{i}" for i in range(len(matrices))], matrices=matrices,
             classes=CLASSES)
    return folder


def decode(uri: str, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8), flags)


def test_scores_of_resampled_images_have_the_interval_of_the_bootstrap_and_the_scores_of_the_matrix() -> None:
    matrices = counts(20)
    draws = results.resampled(matrices)
    assert results.interval(draws["mIoU"]) == pytest.approx(statistics.bootstrap(matrices), abs=1e-12)
    same = np.repeat(matrices[:1], 5, axis=0)               # any draw of equal images has their scores
    whole = ConfusionMatrix(3)
    whole.add(torch.from_numpy(same.sum(0)))
    summary = whole.summary(CLASSES)
    for name, values in results.resampled(same, repeats=3).items():
        expected = list(summary[name].values()) if name == "per_class_IoU" else summary[name]
        assert values == pytest.approx(np.broadcast_to(expected, values.shape), abs=1e-12)


def test_a_class_that_is_nowhere_has_no_score_and_no_interval() -> None:
    matrix = np.diag([5, 0, 2])
    assert results.iou(matrix)[[0, 2]].tolist() == [1, 1]
    assert np.isnan(results.iou(matrix)[1])
    assert results.mean(results.iou(matrix)) == 1
    assert np.isnan(results.accuracy(np.zeros((3, 3), int)))
    assert results.interval(results.resampled(matrix[None])["per_class_IoU"][:, 1]) is None


def test_groups_of_classes_are_scored_as_categories_are() -> None:
    matrix = counts()[0]
    whole = ConfusionMatrix(3)
    whole.add(torch.from_numpy(matrix))
    found = results.iou(results.merge_classes(matrix, ("flat", "high", "flat")))
    assert found.tolist() == pytest.approx(list(whole.category_iou(("flat", "high", "flat")).values()))


def test_an_evaluation_is_found_in_its_run_and_the_newest_is_taken(tmp_path: Path) -> None:
    old, new = (write(tmp_path / "run" / name, counts()) for name in ("eval_b", "eval_a"))
    os.utime(old / "scores.json", (1, 1))
    assert results.find(tmp_path / "run") == new
    assert results.find(old) == old
    found = results.read(new)
    assert found.report_folder == new / "report"            # no run is around it
    (tmp_path / "run" / "args.json").write_text("{}")
    assert found.report_folder == tmp_path / "run" / "report"
    assert found.title == "run"


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: (folder / "scores.json").unlink(), "holds no scores.json"),
    (lambda folder: (folder / "per_image.npz").unlink(), "holds no per_image.npz: run eval.py"),
    (lambda folder: (folder / "scores.json").write_text("{"), "damaged or of another version"),
    (lambda folder: (folder / "scores.json").write_text("{}"), "damaged or of another version"),
    (lambda folder: (folder / "per_image.npz").write_bytes(b""), r"per_image\.npz is damaged"),
    (lambda folder: (folder / "per_image.npz").write_bytes(b"<html>"), r"per_image\.npz is damaged"),
    (lambda folder: np.savez(folder / "per_image.npz", names=["a"], matrices=np.zeros((1, 2, 2), int),
                             classes=["road", "tree"]), "do not fit together"),
])
def test_what_is_no_evaluation_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    folder = write(tmp_path / "eval", counts())
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        results.read(results.find(folder) if (folder / "scores.json").exists() else folder)


def test_a_folder_without_an_evaluation_is_answered_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run eval\.py"):
        results.find(tmp_path)
    with pytest.raises(FileNotFoundError, match="is missing: give the folder of a run"):
        results.find(tmp_path / "nothing")


@pytest.mark.parametrize("count", [1, 2, 7, 10, 50])
def test_images_come_from_both_ends_and_from_between_none_twice(count: int) -> None:
    ranking = np.random.default_rng(1).permutation(30).astype(float)
    ranking[4] = np.nan
    chosen = gallery.choose(ranking, count, ("low", "high", "other"))
    indices = [choice.index for choice in chosen]
    assert len(indices) == len(set(indices)) == min(count, 29)
    assert 4 not in indices
    low, high, other = ([ranking[choice.index] for choice in chosen if choice.group == group]
                        for group in ("low", "high", "other"))
    assert low == sorted(low) and high == sorted(high, reverse=True)
    assert max(low, default=0) < min([*high, *other], default=99) and max(other, default=0) < min(high, default=99)


def test_a_label_map_survives_as_a_palette_picture_with_transparent_void() -> None:
    ids = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (9, 13))
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = (10, 20, 30), (250, 5, 90), (255, 255, 255)
    decoded = decode(pictures.palette_png(ids, pictures.label_colors(palette)))       # BGRA
    assert (decoded[..., 3] == np.where(ids == 255, 0, 255)).all()
    assert (decoded[..., 2::-1][ids != 255] == palette[ids][ids != 255]).all()


def test_errors_and_disagreement_tell_every_case_apart() -> None:
    truth, a, b = (np.array([row], np.uint8) for row in ([1, 1, 1, 1, 255], [1, 1, 2, 0, 1], [1, 0, 1, 0, 1]))
    assert pictures.errors(a, truth).tolist() == [[0, 0, 1, 1, 2]]
    assert pictures.disagreement(a, b, truth).tolist() == [[0, 1, 2, 3, 4]]


def test_flows_become_fields_with_stride_and_reach() -> None:
    flow = np.zeros((2, 8, 16), np.float32)
    flow[0] = 3.0                                           # 1.5 cells of 8 pixels to the right
    gated = np.concatenate([flow, -flow])
    single, coarse, fine = flows.color_flows({"a": flow, "b": gated}, 128)
    assert single.title == "Flow 1, stride 8"
    assert "(8 × 16)" in single.note and "12.0 pixels" in single.note
    assert "coarse map" in coarse.note and "fine map" in fine.note
    assert single.colors.shape == (128, 256, 3)
    assert (single.colors == (255, 0, 0)).all() and (fine.colors == (0, 255, 255)).all()


def test_the_reach_of_a_video_only_grows() -> None:
    reaches: list[float] = []
    pixels = [flows.color_flows({"a": np.full((2, 4, 8), length, np.float32)}, 8, reaches)[0].pixels for length in (1, 3, 2)]
    assert pixels == pytest.approx([2 ** 0.5 / 2, 3 * 2 ** 0.5 / 2, 3 * 2 ** 0.5 / 2])


def test_layers_shrink_until_they_keep_within_an_images_share() -> None:
    tried = []

    def layers(width: int) -> dict[str, str]:
        tried.append(width)
        return {"a": "x" * (width * 500)}

    assert len(gallery._shrink_to_fit(layers)["a"]) <= gallery.MAX_BYTES < tried[-2] * 500
    assert tried == list(gallery.WIDTHS[:len(tried)])


def test_a_page_of_fifty_noisy_large_images_stays_under_20_megabytes() -> None:
    """Noise is the worst that can be encoded; the smallest width must still do."""
    rng = np.random.default_rng(0)
    image, ids = rng.integers(0, 256, (512, 1024, 3), np.uint8), rng.integers(0, 19, (512, 1024), np.uint8)
    made = gallery._shrink_to_fit(lambda width: gallery._single_layers(
        image, ids, ids, [], np.zeros((256, 3), np.uint8), width))
    assert 50 * (sum(map(len, made.values())) + len(gallery._thumbnail(image))) < 20e6


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1.58, [0, 0.5, 1, 1.5, 2]), (0, 40, [0, 10, 20, 30, 40]), (0, 0.001, [0, 0.00025, 0.0005, 0.00075, 0.001]),
    (5, 5, [4, 6]), (0, 0, [0, 0.25]), (-3, 3, [-4, -2, 0, 2, 4])])
def test_ticks_are_round_and_reach_around(low: float, high: float, expected: list[float]) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low and found[-1] >= high and len(found) >= 2
    assert found == pytest.approx(expected)


def test_curves_hold_each_term_and_every_validation(tmp_path: Path) -> None:
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "terms": {"main": 3 / i, "aux0": 1.0}, "lr": 0.1 / i}
             for i in range(1, 2001)] + [{"kind": "validation", "step": 9, "epoch": 1.0, "mIoU": 0.25}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loss, rate, validation = charts.training_charts(tmp_path)
    assert [line.name for line in loss.series] == ["main", "aux0"]
    assert len(rate.series[0].ys) == charts.MAX_POINTS     # means of five neighbors
    assert rate.series[0].ys[0] == pytest.approx(sum(0.1 / i for i in range(1, 6)) / 5)
    assert validation.series[0].ys == [25.0]
    assert charts.training_charts(tmp_path / "no run") == charts.training_charts(None) == []
    rate, validation = charts.comparison_charts({"A": tmp_path, "B": tmp_path, "C": None})      # no total loss was logged
    assert [line.name for line in (*rate.series, *validation.series)] == ["A", "B"] * 2
    assert validation.series[1].ys == [25.0]


def test_a_text_in_the_data_cannot_end_the_script_element() -> None:
    embedded = page._embed({"name": "</script><b>"})
    assert "<" not in embedded
    assert json.loads(embedded) == {"name": "</script><b>"}


def test_classes_stand_best_first_and_an_absent_one_last() -> None:
    matrices = np.array([[[6, 2, 0, 0], [0, 9, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]] * 2)
    rows = tables.class_rows(matrices.sum(0), results.resampled(matrices)["per_class_IoU"], "abcd", [""] * 4)
    assert [row["name"] for row in rows] == ["a", "b", "c", "d"]            # 6/8, 9/12, predicted only, nowhere
    assert [row["iou"] for row in rows] == ["75.0", "75.0", "0.0", None]
    assert (rows[0]["recall"], rows[0]["precision"], rows[1]["share"]) == ("75.0", "100.0", "55.6")
    assert (rows[2]["recall"], rows[2]["precision"]) == ("–", "0.0")


def test_the_matrix_is_normalized_by_row_and_the_costliest_confusion_comes_first() -> None:
    total = np.array([[90, 10, 0], [30, 30, 0], [0, 0, 0]])
    rows = tables.matrix_rows(total, CLASSES)
    assert [[cell["text"] for cell in row["cells"]] for row in rows] == [
        ["90", "10", ""], ["50", "50", ""], ["", "", ""]]
    assert 'data-n="30"' in rows[1]["cells"][0]["attributes"] and "--v:71" in rows[1]["cells"][0]["attributes"]
    lost = tables.largest_confusions(total, CLASSES, ["x", "y", "z"])
    assert [(pair["label"], pair["prediction"], pair["share"]) for pair in lost] == [
        ("tree", "road", "18.75 %"), ("road", "tree", "6.25 %")]


def test_two_matrices_differ_in_points_and_the_better_model_gives_the_color() -> None:
    ours, theirs = np.array([[90, 10, 0], [30, 30, 0], [0, 0, 0]]), np.array([[80, 20, 0], [6, 54, 0], [0, 0, 0]])
    rows = tables.difference_matrix_rows(ours, theirs, CLASSES)
    assert [[cell["text"] for cell in row["cells"]] for row in rows] == [
        ["+10", "−10", ""], ["+40", "−40", ""], ["", "", ""]]
    kinds = [[re.findall(r'class="(.*?)"', cell["attributes"]) for cell in row["cells"][:2]] for row in rows[:2]]
    assert kinds == [[["d a"], ["a"]], [["b"], ["d b"]]]
    assert 'data-n="30 6"' in rows[1]["cells"][0]["attributes"]
    assert "data-n" not in rows[2]["cells"][0]["attributes"]
    differing = tables.largest_confusion_differences(ours, theirs, CLASSES, ["x", "y", "z"])
    assert [(pair["label"], pair["prediction"], pair["share"]) for pair in differing] == [
        ("tree", "road", "+15.00"), ("road", "tree", "−6.25")]


@pytest.mark.parametrize(("test", "words"), [
    (statistics.Comparison(0.02, 0.01, 0.03, 0.001), ("A is ahead by 2.00 points", "more than", "+1.00 to +3.00")),
    (statistics.Comparison(-0.02, -0.05, 0.01, 0.2), ("B is ahead by 2.00 points", "no more than", "−5.00 to +1.00")),
    (statistics.Comparison(0.0, 0.0, 0.0, 1.0), ("A and B are level", "no more than", "0.00 to 0.00"))])
def test_a_comparison_is_a_sentence(tmp_path: Path, test: statistics.Comparison, words: tuple[str, ...]) -> None:
    found = results.read(write(tmp_path / "eval", counts()))
    said = tables.comparison_summary(test, found, SimpleNamespace(spec=SimpleNamespace(title="CamVid")))
    for part in (*words, "6 images of CamVid"):
        assert part in said
