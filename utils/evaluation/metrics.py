"""Segmentation scores, all computed from one confusion matrix."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import torch
from torch import Tensor

# label of pixels that neither losses nor scores count
IGNORE_LABEL = 255
# label maps are bytes
_NUM_IDS = 256
# pixels: OpenCV counts in float32, which is exact up to 2**24
_CPU_CHUNK = 1 << 22


class ConfusionMatrix:
    """Counts pairs of (label, prediction) over all pixels whose label is not ignored.

    With C[i, j] the number of pixels of class i that are predicted as class j:

        TP_k = C[k, k]    FN_k = sum_j C[k, j] - TP_k    FP_k = sum_i C[i, k] - TP_k

    The scores follow the official Cityscapes script `evalPixelLevelSemanticLabeling`: a pixel with
    an ignored label counts for no class, and a class that occurs neither in the labels nor in a
    counted prediction has no IoU and is left out of the mean.

    Args:
        device: where `matrix` is kept, for example to sum it over processes there.

    Attributes:
        matrix: (num_classes, num_classes) int64; rows are labels, columns are predictions.

    Raises:
        ValueError: more classes than a byte can number, or an `ignore_label` that is a class or
            does not fit in a byte.
    """

    def __init__(self, num_classes: int, ignore_label: int = IGNORE_LABEL,
                 device: torch.device | str = "cpu") -> None:
        _check_class_count(num_classes, ignore_label)
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Counts the pixels of one or more images; returns their counts alone, see `count_pairs`.

        Args:
            predictions: class ids of any integer type, shape and device. Values at ignored pixels
                are not read.
            labels: class ids or `ignore_label`, of the same shape.

        Raises:
            ValueError: shapes differ, or an id is not a class.
            TypeError: ids that are not integers, such as logits.
        """
        counts = count_pairs(predictions, labels, self.num_classes, self.ignore_label)
        self.add(counts)
        return counts

    def add(self, counts: Tensor) -> None:
        """Adds counts (num_classes, num_classes) of other images, as `count_pairs` gives them."""
        self.matrix += counts.to(self.matrix.device)

    def iou(self) -> Tensor:
        """Returns (num_classes,) float64: TP / (TP + FP + FN), NaN for a class without pixels."""
        # on the CPU because not every device has float64
        counts = self.matrix.cpu()
        true_positives = counts.diagonal()
        return true_positives.double() / (counts.sum(0) + counts.sum(1) - true_positives)

    def mean_iou(self) -> float:
        """Returns the mean IoU in [0, 1] over the classes that have one; NaN if none has."""
        return self.iou().nanmean().item()

    def accuracy(self) -> Tensor:
        """Returns (num_classes,) float64: recall TP / (TP + FN), NaN for a class without labels."""
        counts = self.matrix.cpu()
        return counts.diagonal().double() / counts.sum(1)

    def precision(self) -> Tensor:
        """Returns (num_classes,) float64: TP / (TP + FP), NaN for a class never predicted."""
        counts = self.matrix.cpu()
        return counts.diagonal().double() / counts.sum(0)

    def f1(self) -> Tensor:
        """Returns (num_classes,) float64: 2 TP / (2 TP + FP + FN), NaN for a class without pixels.

        This is the harmonic mean of precision and recall, also known as the Dice score.
        """
        counts = self.matrix.cpu()
        return 2 * counts.diagonal().double() / (counts.sum(0) + counts.sum(1))

    def category_iou(self, categories: Sequence[str]) -> dict[str, float]:
        """Returns the IoU of each category, with its classes merged into one class.

        With S the classes of a category, its intersection is the sum of C[i, j] over i and j in S,
        and its union the sum over i or j in S. NaN for a category without pixels.

        Args:
            categories: category of each class; a class with "" belongs to none.

        Raises:
            ValueError: the number of categories is not the number of classes.
        """
        if len(categories) != self.num_classes:
            raise ValueError(f"{len(categories)} categories for {self.num_classes} classes.")
        counts = self.matrix.cpu()
        scores: dict[str, float] = {}
        for category in dict.fromkeys(filter(None, categories)):
            members = torch.tensor([name == category for name in categories])
            intersection = int(counts[members][:, members].sum())
            union = int(counts[members].sum()) + int(counts[:, members].sum()) - intersection
            scores[category] = intersection / union if union else math.nan
        return scores

    def mean_accuracy(self) -> float:
        """Returns the mean of `accuracy` over the classes that occur in the labels."""
        return self.accuracy().nanmean().item()

    def pixel_accuracy(self) -> float:
        """Returns the fraction of counted pixels that are predicted correctly: sum_k TP_k / N."""
        return int(self.matrix.trace()) / self.pixels if self.pixels else math.nan

    def frequency_weighted_iou(self) -> float:
        """Returns the IoU averaged with the class frequencies: sum_k (TP_k + FN_k) IoU_k / N."""
        if self.pixels == 0:
            return math.nan
        return (self.iou().nan_to_num() * self.matrix.cpu().sum(1)).sum().item() / self.pixels

    @property
    def pixels(self) -> int:
        """The number N of counted pixels."""
        return int(self.matrix.sum())

    def summary(self, class_names: Sequence[str],
                categories: Sequence[str] | None = None) -> dict[str, Any]:
        """Returns every score in JSON types: fractions in [0, 1], None where a score is undefined.

        Args:
            categories: see `category_iou`; without them their scores are left out.

        Raises:
            ValueError: the number of names or categories is not the number of classes.
        """
        if len(class_names) != self.num_classes:
            raise ValueError(f"{len(class_names)} class names for {self.num_classes} classes.")

        def by_class(values: Tensor) -> dict[str, float | None]:
            return dict(zip(class_names, map(number, values.tolist()), strict=True))

        return {
            "mIoU": number(self.mean_iou()),
            "per_class_IoU": by_class(self.iou()),
            "pixel_accuracy": number(self.pixel_accuracy()),
            "mean_accuracy": number(self.mean_accuracy()),
            "fwIoU": number(self.frequency_weighted_iou()),
            "per_class_precision": by_class(self.precision()),
            "per_class_recall": by_class(self.accuracy()),
            "per_class_F1": by_class(self.f1()),
            **self._category_summary(categories),
            "pixels": self.pixels,
            "confusion_matrix": self.matrix.tolist(),
        }

    def _category_summary(self, categories: Sequence[str] | None) -> dict[str, Any]:
        by_category = self.category_iou(categories) if categories else {}
        if not by_category:
            return {}
        mean = torch.tensor([*by_category.values()], dtype=torch.float64).nanmean().item()
        return {"mean_category_IoU": number(mean),
                "per_category_IoU": {name: number(iou) for name, iou in by_category.items()}}


def count_pairs(predictions: Tensor, labels: Tensor, num_classes: int,
                ignore_label: int = IGNORE_LABEL) -> Tensor:
    """Counts how often each class is predicted as each class.

    Args:
        predictions: class ids of any integer type, shape and device. Values at ignored pixels are
            not read.
        labels: class ids or `ignore_label`, of the same shape.

    Returns:
        (num_classes, num_classes) int64 on the CPU; rows are labels, columns are predictions.

    Raises:
        ValueError: shapes differ, or an id is not a class.
        TypeError: ids that are not integers, such as logits.
    """
    _check_class_count(num_classes, ignore_label)
    predictions, labels = torch.as_tensor(predictions), torch.as_tensor(labels)
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)}, labels {tuple(labels.shape)}: "
                         "shapes differ.")
    labels = labels.to(predictions.device, non_blocking=True)
    counts = _count_id_pairs(labels, predictions).cpu()
    counts[ignore_label] = 0
    _check_ids(counts.sum(1), "labels", num_classes, ignore_label)
    _check_ids(counts.sum(0), "predictions", num_classes, ignore_label)
    return counts[:num_classes, :num_classes].contiguous()


def number(value: float) -> float | None:
    """Returns the value as JSON represents it: None for NaN."""
    return None if math.isnan(value) else value


def _check_class_count(num_classes: int, ignore_label: int) -> None:
    if not 1 <= num_classes <= ignore_label < _NUM_IDS:
        raise ValueError(f"num_classes {num_classes} and ignore_label {ignore_label} do not fit "
                         "together: classes are numbered from 0, and the ignored label is the "
                         f"number of classes or more, at most {_NUM_IDS - 1}.")


def _check_ids(occurrences: Tensor, name: str, num_classes: int, ignore_label: int) -> None:
    """Raises ValueError if an id that is not a class occurs; `occurrences` counts each id."""
    unknown = occurrences[num_classes:].nonzero().flatten() + num_classes
    if len(unknown):
        listing = ", ".join(f"{id} ({int(occurrences[id])} pixels)" for id in unknown.tolist()[:8])
        raise ValueError(f"{name} contain ids that are neither one of the {num_classes} classes "
                         f"(0 to {num_classes - 1}) nor the ignored {ignore_label}: {listing}.")


def _count_id_pairs(labels: Tensor, predictions: Tensor) -> Tensor:
    """Returns (256, 256) int64: how often each pair of ids occurs."""
    labels = _to_bytes(labels, "labels").flatten()
    predictions = _to_bytes(predictions, "predictions").flatten()
    if labels.device.type != "cpu":
        pairs = labels.to(torch.int32).mul_(_NUM_IDS).add_(predictions)
        return torch.bincount(pairs, minlength=_NUM_IDS * _NUM_IDS).view(_NUM_IDS, _NUM_IDS)
    counts = torch.zeros(_NUM_IDS, _NUM_IDS, dtype=torch.int64)
    for chunk in zip(labels.split(_CPU_CHUNK), predictions.split(_CPU_CHUNK), strict=True):
        if len(chunk[0]) == 0:
            continue
        # twice as fast as torch's bincount, and needs no sum of the two maps
        columns = [ids.view(-1, 1).numpy() for ids in chunk]
        histogram = cv2.calcHist(columns, [0, 1], None, [_NUM_IDS] * 2, [0, _NUM_IDS] * 2)
        counts += torch.from_numpy(histogram).long()
    return counts


def _to_bytes(ids: Tensor, name: str) -> Tensor:
    """Returns the ids as uint8; `name` names them in messages.

    Raises:
        TypeError: the ids are not integers.
        ValueError: an id does not fit in a byte.
    """
    if ids.dtype == torch.uint8 or ids.numel() == 0:
        return ids
    if ids.is_floating_point():
        raise TypeError(f"{name} must be class ids of an integer type, not {ids.dtype}: "
                        "take the argmax over the classes first.")
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= _NUM_IDS:
        raise ValueError(f"{name} contain ids from {low} to {high}: ids lie between 0 and "
                         f"{_NUM_IDS - 1}.")
    return ids.to(torch.uint8)
