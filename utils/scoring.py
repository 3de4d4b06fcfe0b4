"""Scoring a network over images that may be shared among processes."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from utils import distributed
from utils.metrics import ConfusionMatrix
from utils.predictor import Predictor
from utils.progress import track

Batch = dict[str, Any]


def score(predictor: Predictor, batches: Iterable[Batch], num_classes: int, *, total: int, what: str,
          each: Callable[[Batch, Tensor], None] | None = None) -> ConfusionMatrix:
    """Parses this process's images, and adds up what all processes counted.

    Args:
        batches: `image` (N, 3, H, W) uint8, `name`, and `label` (N, H, W) where there is a truth.
        total: length of `batches`.
        what: names the work in the progress bar.
        each: called with a batch and its predicted train ids (N, H, W) as soon as they are known.

    Raises:
        ValueError: a label lies outside the classes; the message names the image.
    """
    matrix = ConfusionMatrix(num_classes, device=predictor.device)
    for batch in track(batches, total, what, quiet=not distributed.is_main()):
        labels = predictor.labels(batch["image"])
        if "label" in batch:
            try:
                matrix.update(labels, batch["label"])
            except ValueError as error:
                raise ValueError(f"{', '.join(batch['name'])}: {error}") from error
        if each:
            each(batch, labels)
    distributed.all_reduce_sum_(matrix.matrix)
    return matrix


def share(count: int) -> range:
    """Returns the indices of this process among `count` images: disjoint over the processes, and together all."""
    return range(distributed.rank(), count, distributed.world_size())
