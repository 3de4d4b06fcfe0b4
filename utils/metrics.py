"""Scores of a segmentation, all read from one confusion matrix."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_IDS = 256                                                  # label maps are bytes
_CPU_CHUNK = 1 << 17                                        # pixels: within a core's cache, 4 times as fast


class ConfusionMatrix:
    """Counts of (true class, predicted class) over every pixel whose truth is not ignored.

    The scores follow Cityscapes' official `evalPixelLevelSemanticLabeling`: a pixel whose truth is ignored counts
    neither for nor against any class, and a class found in neither the truth nor a counted prediction has no IoU and is
    left out of the mean.

    Args:
        device: where `matrix` is kept; the processes of a group add it up there.

    Attributes:
        matrix: (num_classes, num_classes) int64; rows are the truth, columns the prediction.

    Raises:
        ValueError: more classes than a byte can number, or an `ignore_label` that is a class or no byte.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255, device: torch.device | str = "cpu") -> None:
        if not 1 <= num_classes <= ignore_label < _IDS:
            raise ValueError(f"num_classes {num_classes} and ignore_label {ignore_label} do not fit together: classes "
                             f"are numbered from 0, the ignored label comes after them and is at most {_IDS - 1}.")
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Adds the pixels of some images.

        Args:
            predictions: class ids of any integer type, shape and device; on ignored pixels anything goes.
            labels: the truth, of the same shape; class ids and `ignore_label`.

        Raises:
            ValueError: shapes differ, or an id lies outside the classes.
            TypeError: ids that are no integers, such as logits.
        """
        predictions, labels = torch.as_tensor(predictions), torch.as_tensor(labels)
        if predictions.shape != labels.shape:
            raise ValueError(f"predictions {tuple(predictions.shape)}, labels {tuple(labels.shape)}: shapes differ.")
        counts = _count_pairs(labels, predictions.to(labels.device)).cpu()
        counts[self.ignore_label] = 0
        classes = slice(self.num_classes)
        self._refuse_strangers(counts.sum(1), "labels")
        self._refuse_strangers(counts.sum(0), "predictions")
        self.matrix += counts[classes, classes].to(self.matrix.device)

    def merge(self, other: ConfusionMatrix) -> None:
        """Adds the counts of another part of the images. Raises ValueError when it counts other classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge a matrix of {other.num_classes} classes into one of {self.num_classes}.")
        self.matrix += other.matrix.to(self.matrix.device)

    def iou(self) -> Tensor:
        """Returns (num_classes,) float64: true positives over the union, NaN for a class that occurs nowhere."""
        counts = self.matrix.cpu()                          # not every device has float64
        hits = counts.diagonal()
        return hits.double() / (counts.sum(0) + counts.sum(1) - hits)

    def mean_iou(self) -> float:
        """Returns the mean IoU in [0, 1] over the classes that have one; NaN when nothing was counted."""
        return self.iou().nanmean().item()

    def accuracy(self) -> Tensor:
        """Returns (num_classes,) float64: the share of each true class that is found (recall), NaN without truth."""
        counts = self.matrix.cpu()
        return counts.diagonal().double() / counts.sum(1)

    def mean_accuracy(self) -> float:
        """Returns the mean of `accuracy` over the classes that occur in the truth."""
        return self.accuracy().nanmean().item()

    def pixel_accuracy(self) -> float:
        """Returns the share of counted pixels that are right."""
        return int(self.matrix.trace()) / self.pixels if self.pixels else math.nan

    def frequency_weighted_iou(self) -> float:
        """Returns the IoU averaged with each class's share of the true pixels as its weight."""
        if self.pixels == 0:
            return math.nan
        return (self.iou().nan_to_num() * self.matrix.cpu().sum(1)).sum().item() / self.pixels

    @property
    def pixels(self) -> int:
        """The number of counted pixels."""
        return int(self.matrix.sum())

    def summary(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns every score in plain JSON types: fractions in [0, 1], null where a score is undefined.

        Raises:
            ValueError: not one name a class.
        """
        if len(class_names) != self.num_classes:
            raise ValueError(f"{len(class_names)} class names for {self.num_classes} classes.")
        return {
            "mIoU": _number(self.mean_iou()),
            "per_class_IoU": dict(zip(class_names, map(_number, self.iou().tolist()), strict=True)),
            "pixel_accuracy": _number(self.pixel_accuracy()),
            "mean_accuracy": _number(self.mean_accuracy()),
            "fwIoU": _number(self.frequency_weighted_iou()),
            "pixels": self.pixels,
            "confusion_matrix": self.matrix.tolist(),
        }

    def _refuse_strangers(self, occurrences: Tensor, what: str) -> None:
        strangers = occurrences[self.num_classes:].nonzero().flatten() + self.num_classes
        if len(strangers):
            found = ", ".join(f"{id} ({int(occurrences[id])} pixels)" for id in strangers.tolist()[:8])
            raise ValueError(f"{what} hold ids that are none of the {self.num_classes} classes (0 to "
                             f"{self.num_classes - 1}) nor the ignored {self.ignore_label}: {found}.")


def _count_pairs(labels: Tensor, predictions: Tensor) -> Tensor:
    """Returns (256, 256) int64: how often each pair of ids occurs."""
    counts = torch.zeros(_IDS * _IDS, dtype=torch.int64, device=labels.device)
    size = _CPU_CHUNK if labels.device.type == "cpu" else max(1, labels.numel())
    chunks = zip(labels.flatten().split(size), predictions.flatten().split(size), strict=True)
    for truth, predicted in chunks:
        pairs = _as_bytes(truth, "labels").to(torch.int32).mul_(_IDS).add_(_as_bytes(predicted, "predictions"))
        counts += torch.bincount(pairs, minlength=_IDS * _IDS)
    return counts.view(_IDS, _IDS)


def _as_bytes(ids: Tensor, what: str) -> Tensor:
    if ids.dtype == torch.uint8 or ids.numel() == 0:
        return ids
    if ids.is_floating_point():
        raise TypeError(f"{what} must be class ids of an integer type, not {ids.dtype}: "
                        "take the argmax over the classes first.")
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= _IDS:
        raise ValueError(f"{what} hold ids from {low} to {high}: ids lie between 0 and {_IDS - 1}.")
    return ids.to(torch.uint8)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
