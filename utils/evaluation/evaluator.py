"""Scoring a network over images that may be shared among processes."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from utils import distributed
from utils.batches import grouped
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.logs import track

Batch = dict[str, Any]


class Prediction(NamedTuple):
    """An image (3, H, W) uint8 and its predicted train ids (H, W) uint8.

    Where there is a `truth` (H, W) uint8, `counts` holds (K, K) int64 of it; else both are None. `place` is the image's
    index in the batch that it was parsed in.
    """

    name: str
    image: Tensor
    labels: Tensor
    truth: Tensor | None
    counts: Tensor | None
    place: int


def parse(predictor: Predictor, batches: Iterable[Batch], num_classes: int, *, total: int,
          what: str, together: int = 1) -> Iterator[Prediction]:
    """Yields this process's images one by one, parsed and counted.

    Args:
        batches: `image` (N, 3, H, W) uint8, `name`, and `label` (N, H, W) where there is a truth.
        total: length of `batches`.
        what: names the work in the progress bar.
        together: batches of one image size that are parsed in one.

    Raises:
        ValueError: a label lies outside the classes, or has another size than the image; the message names the image.
    """
    matrix = ConfusionMatrix(num_classes, device=predictor.device)
    for batch in grouped(track(batches, total, what, quiet=not distributed.is_main()), together):
        predicted = predictor.labels(batch["image"])
        for i, (name, image, labels) in enumerate(zip(batch["name"], batch["image"], predicted, strict=True)):
            truth = batch["label"][i] if "label" in batch else None
            try:
                counts = None if truth is None else matrix.update(labels, truth)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            yield Prediction(name, image, labels, truth, counts, i)


def share(count: int) -> range:
    """Returns the indices of this process among `count` images: disjoint over the processes, and together all."""
    return range(distributed.rank(), count, distributed.world_size())
