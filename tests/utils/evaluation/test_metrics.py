from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
import torch

from utils.evaluation.metrics import ConfusionMatrix


def scored(
    predictions: list[list[int]], labels: list[list[int]], num_classes: int = 3
) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.tensor(predictions), torch.tensor(labels))
    return matrix


def test_scores_worked_by_hand() -> None:
    matrix = scored([[0, 0, 1, 1], [1, 2, 2, 2]], [[0, 0, 0, 1], [1, 1, 2, 255]])
    # hits, missed, wrongly claimed: class 0: 2, 1, 0; class 1: 2, 1, 1; class 2: 1, 0, 1
    assert matrix.matrix.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 1]]
    assert matrix.iou().tolist() == pytest.approx([2 / 3, 2 / 4, 1 / 2])
    assert matrix.mean_iou() == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert matrix.pixel_accuracy() == pytest.approx(5 / 7)
    assert matrix.mean_accuracy() == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert matrix.frequency_weighted_iou() == pytest.approx((3 * 2 / 3 + 3 * 1 / 2 + 1 * 1 / 2) / 7)
    assert matrix.pixels == 7


def test_precision_recall_and_f1_worked_by_hand() -> None:
    matrix = scored([[0, 0, 1, 1], [1, 2, 2, 2]], [[0, 0, 0, 1], [1, 1, 2, 255]])
    # of what is said to be the class
    assert matrix.precision().tolist() == pytest.approx([2 / 2, 2 / 3, 1 / 2])
    # of what is the class
    assert matrix.accuracy().tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    assert matrix.f1().tolist() == pytest.approx([4 / 5, 4 / 6, 2 / 3])
    # one pixel of six left for class 2
    assert matrix.category_iou(["a", "a", ""]) == {"a": pytest.approx(5 / 6)}


def test_categories_must_be_one_a_class() -> None:
    with pytest.raises(ValueError, match="2 categories for 3 classes"):
        ConfusionMatrix(3).category_iou(["a", "b"])


def test_an_update_returns_its_own_counts() -> None:
    matrix = scored([[0, 1]], [[0, 0]])
    assert matrix.update(torch.tensor([2]), torch.tensor([2])).tolist() == [
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]


def test_a_class_that_occurs_nowhere_is_left_out_of_the_mean() -> None:
    matrix = scored([[0, 0, 2]], [[0, 0, 255]])
    assert matrix.iou().isnan().tolist() == [False, True, True]
    assert matrix.mean_iou() == 1.0


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    assert scored([[0, 1]], [[0, 0]]).iou()[1] == 0.0


def test_nothing_counted_gives_no_score() -> None:
    matrix = scored([[0, 1]], [[255, 255]])
    assert all(
        math.isnan(score())
        for score in (matrix.mean_iou, matrix.pixel_accuracy, matrix.frequency_weighted_iou)
    )
    assert matrix.summary("abc")["mIoU"] is None


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_integer_type_counts_alike(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (2, 7, 9), generator=generator)
    predictions = torch.randint(0, 5, (2, 7, 9), generator=generator)
    labels[0, :3] = 255
    matrix = ConfusionMatrix(5)
    matrix.update(predictions.to(kind), labels.to(torch.uint8))
    expected = [
        [int(((labels == row) & (predictions == column)).sum()) for column in range(5)]
        for row in range(5)
    ]
    assert matrix.matrix.tolist() == expected


def test_equals_the_official_cityscapes_scorer() -> None:
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesscripts is in the test extra",
    )
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    classes = [label for label in labels if 0 <= label.trainId < 255]
    train_ids = np.full(256, 255, np.uint8)
    raw_ids = np.zeros(256, np.uint8)
    for label in classes:
        train_ids[label.id], raw_ids[label.trainId] = label.trainId, label.id
    rng = np.random.default_rng(0)
    ours, theirs = ConfusionMatrix(19), official.generateMatrix(official.args)
    for _ in range(3):
        # raw ids; 31 to 33 do not occur
        truth = rng.integers(0, 31, (40, 60)).astype(np.uint8)
        # train ids; 17, 18 are never predicted
        prediction = rng.integers(0, 17, truth.shape).astype(np.uint8)
        ours.update(torch.from_numpy(prediction), torch.from_numpy(train_ids[truth]))
        np.add.at(theirs, (truth, raw_ids[prediction]), 1)
    for of_truth, of_ours in zip(classes, ours.iou().tolist(), strict=True):
        expected = official.getIouScoreForLabel(of_truth.id, theirs, official.args)
        assert of_ours == pytest.approx(expected, abs=1e-9, nan_ok=True), of_truth.name
    scores = {
        label.id: official.getIouScoreForLabel(label.id, theirs, official.args) for label in classes
    }
    assert math.isnan(scores[33])
    assert ours.mean_iou() == pytest.approx(
        official.getScoreAverage(scores, official.args), abs=1e-9
    )


def test_summary_is_plain_json_with_null_for_undefined() -> None:
    summary = json.loads(
        json.dumps(scored([[0, 1]], [[0, 0]]).summary(["road", "car", "sky"]), allow_nan=False)
    )
    assert summary["per_class_IoU"] == {"road": 0.5, "car": 0.0, "sky": None}
    assert summary["confusion_matrix"][0] == [1, 1, 0]
    assert {
        key: summary[key] for key in ("mIoU", "pixel_accuracy", "mean_accuracy", "fwIoU", "pixels")
    } == {"mIoU": 0.25, "pixel_accuracy": 0.5, "mean_accuracy": 0.5, "fwIoU": 0.5, "pixels": 2}


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (
            [[0, 1]],
            [[0, 3]],
            r"labels contain ids that are neither one of the 3 classes .* ignored 255: 3 "
            r"\(1 pixels\)",
        ),
        (
            [[7, 7]],
            [[0, 1]],
            r"predictions contain ids that are neither one of the 3 classes .*: 7 \(2 pixels\)",
        ),
        ([[0, 256]], [[0, 1]], "predictions contain ids from 0 to 256"),
        ([[0, 1]], [[-1, 1]], "labels contain ids from -1 to 1"),
        ([[0, 1]], [[0], [1]], r"predictions \(1, 2\), labels \(2, 1\): shapes differ"),
    ],
)
def test_ids_and_shapes_that_cannot_be_are_refused(
    predictions: list[list[int]], labels: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scored(predictions, labels)


def test_a_refused_update_counts_nothing() -> None:
    matrix = scored([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match="neither one of the 3"):
        matrix.update(torch.tensor([0, 9]), torch.tensor([0, 1]))
    assert matrix.pixels == 2


def test_logits_instead_of_ids_are_refused() -> None:
    with pytest.raises(TypeError, match="take the argmax"):
        ConfusionMatrix(2).update(torch.zeros(3), torch.zeros(3, dtype=torch.uint8))


def test_impossible_classes_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes 300 and ignore_label 255"):
        ConfusionMatrix(300)
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        ConfusionMatrix(3).summary(["a", "b"])


@pytest.mark.slow
def test_a_full_cityscapes_image_is_counted_in_milliseconds() -> None:
    labels = (
        torch.randint(0, 19, (16, 32), dtype=torch.uint8)
        .repeat_interleave(64, 0)
        .repeat_interleave(64, 1)
    )
    threads, matrix, times = torch.get_num_threads(), ConfusionMatrix(19), []
    torch.set_num_threads(1)
    try:
        for _ in range(15):
            start = time.perf_counter()
            matrix.update(labels, labels)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    # 2 ms on an idle core; the margin is for a busy one
    assert min(times) < 0.01
