"""Scores of a segmentation, all read from one confusion matrix."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import torch
from torch import Tensor

IGNORE_LABEL = 255                                          # label of pixels that no loss and no score counts
_IDS = 256                                                  # label maps are bytes
_CPU_CHUNK = 1 << 22                                        # pixels: OpenCV counts in float32, exact up to 2**24


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

    def __init__(self, num_classes: int, ignore_label: int = IGNORE_LABEL, device: torch.device | str = "cpu") -> None:
        if not 1 <= num_classes <= ignore_label < _IDS:
            raise ValueError(f"num_classes {num_classes} and ignore_label {ignore_label} do not fit together: classes "
                             f"are numbered from 0, the ignored label comes after them and is at most {_IDS - 1}.")
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Adds the pixels of some images, and returns their own counts (num_classes, num_classes), on the device.

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
        counts = _count_pairs(labels.to(predictions.device, non_blocking=True), predictions).cpu()
        counts[self.ignore_label] = 0
        classes = slice(self.num_classes)
        self._refuse_strangers(counts.sum(1), "labels")
        self._refuse_strangers(counts.sum(0), "predictions")
        own = counts[classes, classes].to(self.matrix.device)
        self.matrix += own
        return own

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

    def precision(self) -> Tensor:
        """Returns (num_classes,) float64: the share of what is said to be a class that is it, NaN if it never is."""
        counts = self.matrix.cpu()
        return counts.diagonal().double() / counts.sum(0)

    def f1(self) -> Tensor:
        """Returns (num_classes,) float64: the harmonic mean of precision and recall, NaN for a class found nowhere."""
        counts = self.matrix.cpu()
        return 2 * counts.diagonal().double() / (counts.sum(0) + counts.sum(1))

    def category_iou(self, categories: Sequence[str]) -> dict[str, float]:
        """Returns the IoU of each group of classes, with the classes of a group counted as one; NaN as for classes.

        Args:
            categories: the group of each class; a class whose group is "" belongs to none.

        Raises:
            ValueError: not one group a class.
        """
        if len(categories) != self.num_classes:
            raise ValueError(f"{len(categories)} categories for {self.num_classes} classes.")
        counts, scores = self.matrix.cpu(), {}
        for category in dict.fromkeys(filter(None, categories)):
            own = torch.tensor([each == category for each in categories])
            hits = int(counts[own][:, own].sum())
            union = int(counts[own].sum()) + int(counts[:, own].sum()) - hits
            scores[category] = hits / union if union else math.nan
        return scores

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

    def summary(self, class_names: Sequence[str], categories: Sequence[str] | None = None) -> dict[str, Any]:
        """Returns every score in plain JSON types: fractions in [0, 1], null where a score is undefined.

        Args:
            categories: see `category_iou`; its scores are left out when there are none.

        Raises:
            ValueError: not one name, or not one category, a class.
        """
        if len(class_names) != self.num_classes:
            raise ValueError(f"{len(class_names)} class names for {self.num_classes} classes.")

        def by_class(values: Tensor) -> dict[str, float | None]:
            return dict(zip(class_names, map(number, values.tolist()), strict=True))

        by_category = self.category_iou(categories) if categories else {}
        grouped = {"mean_category_IoU": number(torch.tensor([*by_category.values()], dtype=torch.float64)
                                               .nanmean().item()),
                   "per_category_IoU": {name: number(value) for name, value in by_category.items()}}
        return {
            "mIoU": number(self.mean_iou()),
            "per_class_IoU": by_class(self.iou()),
            "pixel_accuracy": number(self.pixel_accuracy()),
            "mean_accuracy": number(self.mean_accuracy()),
            "fwIoU": number(self.frequency_weighted_iou()),
            "per_class_precision": by_class(self.precision()),
            "per_class_recall": by_class(self.accuracy()),
            "per_class_F1": by_class(self.f1()),
            **(grouped if by_category else {}),
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
    labels, predictions = _as_bytes(labels, "labels").flatten(), _as_bytes(predictions, "predictions").flatten()
    if labels.device.type != "cpu":
        pairs = labels.to(torch.int32).mul_(_IDS).add_(predictions)
        return torch.bincount(pairs, minlength=_IDS * _IDS).view(_IDS, _IDS)
    counts = torch.zeros(_IDS, _IDS, dtype=torch.int64)
    for pair in zip(labels.split(_CPU_CHUNK), predictions.split(_CPU_CHUNK), strict=True):
        if len(pair[0]):                                    # twice as fast as torch's bincount, and it needs no sum
            columns = [ids.view(-1, 1).numpy() for ids in pair]
            counts += torch.from_numpy(cv2.calcHist(columns, [0, 1], None, [_IDS] * 2, [0, _IDS] * 2)).long()
    return counts


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


def number(value: float) -> float | None:
    """Returns the value as JSON has it: None for NaN."""
    return None if math.isnan(value) else value
