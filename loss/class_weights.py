"""Weights of classes, from a file or from the frequencies in an image or a batch."""
from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.cli import suggest


def read_class_weights(path: str | Path, names: Sequence[str]) -> list[float]:
    """Reads a JSON file of weights: {"class name": weight}, or a list in the order of train ids.

    Args:
        names: of the classes, in the order of the train ids.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not JSON, its classes or their number differ from `names`, or a
            weight is not a number above 0.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no class weights at {path} (--class_weights): give a JSON file "
                                '{"class name": weight}')
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}): write class weights as '
                         '{"class name": weight}') from error
    weights = _in_order(path, content, names) if isinstance(content, dict) else content
    if not isinstance(weights, list) or len(weights) != len(names):
        content = f"a {type(weights).__name__}"
        if isinstance(weights, list):
            content = f"{len(weights)} weights"
        raise ValueError(f"{path} holds {content}, but the dataset has {len(names)} classes: give "
                         "one weight for each class, in the order of the train ids")
    for name, weight in zip(names, weights, strict=True):
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            raise ValueError(f"{path}: the weight of {name} is {weight!r}, not a number above 0")
    return [float(weight) for weight in weights]


def _in_order(path: Path, by_name: dict[str, Any], names: Sequence[str]) -> list[Any]:
    """Returns the weights in the order of the names; checks that the names are the same."""
    for name in by_name:
        if name not in names:
            suggestion = suggest(name, names) or "."
            raise ValueError(f"{path} has a weight for {name!r}, which is not a class of the "
                             f"dataset{suggestion} The classes are: {', '.join(names)}.")
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ValueError(f"{path} has no weight for {', '.join(missing)}: every class of the "
                         "dataset needs one")
    return [by_name[name] for name in names]


def pixel_weights(labels: Tensor, class_weights: Tensor, ignore_label: int) -> Tensor:
    """Returns the weight of each pixel, (N, H, W) float32, 0 where the label is ignored.

    Args:
        labels: (N, H, W) int64.
        class_weights: one weight per class, (K,), or per image and class, (N, K).
        ignore_label: the label of ignored pixels.
    """
    valid = labels != ignore_label
    classes = torch.where(valid, labels, 0)
    if class_weights.ndim == 1:
        weights = class_weights[classes]
    else:
        weights = class_weights.gather(1, classes.flatten(1)).view(labels.shape)
    return weights * valid


def inverse_frequency(labels: Tensor, num_classes: int, ignore_label: int, *, bound: float,
                      per_batch: bool) -> Tensor:
    """Returns the weight of each class in each image, (N, K), 1 for an absent class.

    The weight is w = 1 + bound (1 - h), where h is the frequency of the class among the labeled
    pixels of the image or, with `per_batch`, of the whole batch. These are the weights of the code
    published with Zhu et al. (CVPR 2019, arXiv 1812.01593).

    Args:
        labels: (N, H, W) int64 in [0, num_classes) or `ignore_label`.
        bound: largest addition to the weight of 1, at least 0.
    """
    # a histogram for each image; ignored pixels count as class K, which is cut off
    classes = torch.where(labels == ignore_label, num_classes, labels).flatten(1)
    counts = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    counts.scatter_add_(1, classes, torch.ones_like(classes, dtype=counts.dtype))
    counts = counts[:, :num_classes]
    if per_batch:
        counts = counts.sum(0, keepdim=True).expand_as(counts)
    frequencies = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return torch.where(counts > 0, 1 + bound * (1 - frequencies), 1)
