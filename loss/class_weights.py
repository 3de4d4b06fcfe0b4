"""Weights of classes: read from a file, or from how often the classes occur in an image or a batch."""
from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from utils.cli import suggest


def read_class_weights(path: str | Path, names: Sequence[str]) -> list[float]:
    """Reads a JSON file of weights: {"class name": weight}, or a list in the order of the train ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such JSON, names other classes, has another length, or a weight is no number above 0.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no class weights at {path} (--class_weights): give a JSON file "
                                '{"class name": weight}')
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON ({error}): class weights are written {{"class name": weight}}') from error
    if isinstance(given, dict):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"{path} weighs {unknown[0]!r}, which is no class of the dataset"
                             f"{suggest(unknown[0], names) or '.'} The classes are: {', '.join(names)}.")
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(f"{path} has no weight for {', '.join(missing)}: every class of the dataset needs one")
        given = [given[name] for name in names]
    if not isinstance(given, list) or len(given) != len(names):
        held = f"{len(given)} weights" if isinstance(given, list) else f"a {type(given).__name__}"
        raise ValueError(f"{path} holds {held}, but the dataset has {len(names)} classes: give one weight for each, "
                         "in the order of the train ids")
    for name, weight in zip(names, given, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ValueError(f"{path}: the weight of {name} is {weight!r}, not a number above 0")
    return [float(weight) for weight in given]


def pixel_weights(labels: Tensor, table: Tensor, ignore_label: int) -> Tensor:
    """Returns each pixel's weight, (N, H, W) float32, 0 where the label is ignored.

    Args:
        labels: (N, H, W) int64.
        table: a weight for each class, (K,), or for each class in each image, (N, K).
    """
    valid = labels != ignore_label
    classes = torch.where(valid, labels, 0)
    weights = table[classes] if table.ndim == 1 else table.gather(1, classes.flatten(1)).view(labels.shape)
    return weights * valid


def inverse_frequency(labels: Tensor, num_classes: int, ignore_label: int, bound: float, per_batch: bool) -> Tensor:
    """Returns the weight of each class in each image, (N, K): w = 1 + bound (1 - h) for a class that is there, else 1.

    h is the class's share of the labelled pixels, of the image or, `per_batch`, of the whole batch. It is the
    weighting of the code that was published with Zhu et al. (CVPR 2019, arXiv 1812.01593).
    """
    classes = torch.where(labels == ignore_label, num_classes, labels).flatten(1)
    counts = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    counts = counts.scatter_add_(1, classes, torch.ones_like(classes, dtype=counts.dtype))[:, :num_classes]
    if per_batch:
        counts = counts.sum(0, keepdim=True).expand_as(counts)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return torch.where(counts > 0, 1 + bound * (1 - shares), 1)
