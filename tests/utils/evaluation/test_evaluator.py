from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from utils import distributed
from utils.evaluation import evaluator
from utils.evaluation.boundary import boundary_f
from utils.evaluation.evaluator import Prediction, predict, predict_batch, split_batch


def batch(name: str, side: int, label: int | None = None) -> dict[str, Any]:
    """A batch of one image whose pixels have the value of its side."""
    entries: dict[str, Any] = {"name": [name], "image": torch.full((1, 3, side, side), side,
                                                                   dtype=torch.uint8)}
    if label is not None:
        entries["label"] = torch.full((1, side, side), label, dtype=torch.uint8)
    return entries


class FirstChannel:
    """Predicts the value of the first channel; keeps the sizes of the batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def labels(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return images[:, 0]


def predictions_of(batches: list[dict[str, Any]], images_per_batch: int
                   ) -> tuple[FirstChannel, list[Prediction]]:
    predictor: Any = FirstChannel()
    predictions = predict(predictor, batches, total=len(batches), description="test",
                          images_per_batch=images_per_batch)
    return predictor, list(predictions)


def test_images_of_one_size_are_predicted_in_one_batch_and_stay_in_order() -> None:
    batches = [batch("a", 2), batch("b", 2), batch("c", 2), batch("d", 3)]
    predictor, predictions = predictions_of(batches, 2)
    assert predictor.batches == [2, 1, 1]
    assert [prediction.name for prediction in predictions] == ["a", "b", "c", "d"]
    assert [prediction.batch_index for prediction in predictions] == [0, 1, 0, 0]
    assert [int(prediction.predictions.unique()) for prediction in predictions] == [2, 2, 2, 3]


def test_an_image_counts_its_own_pixels() -> None:
    _, (prediction,) = predictions_of([batch("a", 2, label=1)], 1)
    assert prediction.counts(3).tolist() == [[0, 0, 0], [0, 0, 4], [0, 0, 0]]


def test_an_image_without_labels_counts_nothing() -> None:
    _, (prediction,) = predictions_of([batch("a", 2)], 1)
    assert prediction.labels is None
    assert prediction.counts(3).tolist() == np.zeros((3, 3)).tolist()
    assert prediction.boundary_f(3, (0.1,)) is None


def test_boundaries_are_scored_if_there_are_thresholds() -> None:
    labels = torch.tensor([[[0, 0, 1, 1]] * 4], dtype=torch.uint8)
    images = {"name": ["a"], "image": torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "label": labels}
    (prediction,) = split_batch(images, labels.flip(2))
    assert prediction.boundary_f(2, ()) is None
    expected = boundary_f(labels.flip(2)[0].numpy(), labels[0].numpy(), 2, (0.1,))
    assert np.array_equal(prediction.boundary_f(2, (0.1,)), expected)


def test_probabilities_are_counted_if_they_are_asked_for() -> None:
    class HalfSure(FirstChannel):
        def confidence(self, images: torch.Tensor, measures: tuple[str, ...]) -> Any:
            assert measures == ("probability",)
            return images[:, 0], {"probability": torch.full(images[:, 0].shape, 0.5)}

    (plain,) = predict_batch(FirstChannel(), batch("a", 2, label=1))  # type: ignore[arg-type]
    assert plain.calibration() is None
    (sure,) = predict_batch(HalfSure(), batch("a", 2, label=1), True)  # type: ignore[arg-type]
    counts = sure.calibration()
    assert counts is not None
    # 4 pixels, all wrong, at 0.5
    assert counts.sum(1).tolist() == [4, 4, 2]
    (unlabeled,) = predict_batch(HalfSure(), batch("a", 2), True)  # type: ignore[arg-type]
    assert unlabeled.calibration() is None


def test_an_invalid_label_is_an_error_that_names_the_image() -> None:
    _, (prediction,) = predictions_of([batch("street_7", 2, label=9)], 1)
    with pytest.raises(ValueError, match=r"street_7: labels contain ids .*: 9 \(4 pixels\)"):
        prediction.counts(3)


def test_shards_of_all_processes_are_disjoint_and_cover_all_images(
        monkeypatch: pytest.MonkeyPatch) -> None:
    indices: list[int] = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 3)
        indices += distributed.shard(8)
    assert sorted(indices) == list(range(8))


def test_only_the_main_process_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: list[bool] = []

    def track(loader: Any, total: int, description: str, **flags: Any) -> Iterator[Any]:
        quiet.append(flags["quiet"])
        return iter(loader)

    monkeypatch.setattr(evaluator, "track", track)
    for is_main in (True, False):
        monkeypatch.setattr(distributed, "is_main", lambda is_main=is_main: is_main)
        list(evaluator.load_batches([batch("a", 2)], total=1, description="test"))
    assert quiet == [False, True]
