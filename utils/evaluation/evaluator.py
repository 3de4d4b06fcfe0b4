"""Predicting the images of a split, and scoring each of them."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from utils import distributed
from utils.batches import grouped
from utils.evaluation import calibration, trimap
from utils.evaluation.boundary import boundary_f
from utils.evaluation.metrics import count_pairs
from utils.evaluation.predictor import Predictor
from utils.logs import track

Batch = dict[str, Any]


class Prediction(NamedTuple):
    """An image with its predictions and, if it has any, its labels.

    Attributes:
        name: of the image.
        image: (3, H, W) uint8 RGB.
        predictions: (H, W) uint8 train ids, on the predictor's device.
        labels: (H, W) uint8 train ids; None in a split without labels.
        batch_index: index of the image in the batch in which it was predicted.
        probability: (H, W) float32, of the predicted class; None if it was not asked for.
    """

    name: str
    image: Tensor
    predictions: Tensor
    labels: Tensor | None
    batch_index: int
    probability: Tensor | None = None

    def counts(self, num_classes: int) -> Tensor:
        """Returns the confusion counts (K, K) int64 of the image; zeros without labels.

        Rows are labels, columns are predictions.

        Raises:
            ValueError: a label is not a class, or the label map has another size than the image;
                the message names the image.
        """
        if self.labels is None:
            return torch.zeros(num_classes, num_classes, dtype=torch.int64)
        try:
            return count_pairs(self.predictions, self.labels, num_classes)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def boundary_f(self, num_classes: int, thresholds: Sequence[float]) -> np.ndarray | None:
        """Returns the boundary F-scores (T, K) of the image, None without labels or thresholds."""
        if self.labels is None or not thresholds:
            return None
        predictions, labels = self.predictions.cpu().numpy(), self.labels.cpu().numpy()
        return boundary_f(predictions, labels, num_classes, thresholds)

    def border_counts(self, num_classes: int, width: int | None) -> np.ndarray | None:
        """Returns the counts (K, K) of `trimap.count`, None without labels or a width."""
        if self.labels is None or width is None:
            return None
        predictions, labels = self.predictions.cpu().numpy(), self.labels.cpu().numpy()
        return trimap.count(predictions, labels, num_classes, width)

    def calibration(self) -> np.ndarray | None:
        """Returns the counts of `calibration.count`, None without labels or probabilities."""
        if self.labels is None or self.probability is None:
            return None
        return calibration.count(self.probability, self.predictions, self.labels)


def split_batch(batch: Batch, predictions: Tensor,
                probabilities: Tensor | None = None) -> Iterator[Prediction]:
    """Yields the images of a batch with their predictions.

    Args:
        batch: `name`, `image` (N, 3, H, W) uint8, and `label` (N, H, W) uint8 if there are labels.
        predictions: (N, H, W) uint8 train ids.
        probabilities: (N, H, W) float32, of the predicted classes.
    """
    all_labels = batch.get("label")
    images = zip(batch["name"], batch["image"], predictions, strict=True)
    for i, (name, image, image_predictions) in enumerate(images):
        labels = None if all_labels is None else all_labels[i]
        probability = None if probabilities is None else probabilities[i]
        yield Prediction(name, image, image_predictions, labels, i, probability)


def predict_batch(predictor: Predictor, batch: Batch,
                  with_probabilities: bool = False) -> Iterator[Prediction]:
    """Yields the images of a batch with their predictions.

    Args:
        with_probabilities: also compute the probabilities of the predicted classes.
    """
    if not with_probabilities:
        yield from split_batch(batch, predictor.labels(batch["image"]))
        return
    labels, maps = predictor.confidence(batch["image"], ("probability",))
    yield from split_batch(batch, labels, maps["probability"])


def load_batches(loader: Iterable[Batch], *, total: int, description: str,
                 images_per_batch: int = 1) -> Iterator[Batch]:
    """Yields batches of at most `images_per_batch` images of one size, with a progress bar.

    Args:
        loader: batches of one image.
        total: number of batches of the loader.
        description: shown beside the progress bar.
        images_per_batch: largest number of images in a batch.
    """
    quiet = not distributed.is_main()
    return grouped(track(loader, total, description, quiet=quiet), images_per_batch)


def predict(predictor: Predictor, loader: Iterable[Batch], *, total: int, description: str,
            images_per_batch: int = 1) -> Iterator[Prediction]:
    """Yields the images of a loader one by one with their predictions.

    The arguments are those of `load_batches`.
    """
    batches = load_batches(loader, total=total, description=description,
                           images_per_batch=images_per_batch)
    for batch in batches:
        yield from predict_batch(predictor, batch)
