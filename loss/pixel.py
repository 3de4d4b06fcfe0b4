"""Building blocks of the criteria: per-pixel losses, weighted means, the k-th largest value."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.resizing import map_row_chunks


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_label: int,
                        label_smoothing: float = 0.0) -> Tensor:
    """Returns the cross entropy of each pixel, (N, H, W) in float32; 0 where the label is ignored.

    With x the logits of a pixel, y its label and e the label smoothing, the loss is
    -(1 - e) log p_y - e / K sum_k log p_k, where p = softmax(x).

    Args:
        logits: (N, K, h, w) in any precision. Smaller ones are resized to the labels with aligned
            corners, a chunk of rows at a time, so that no full-size logits are ever held.
        labels: (N, H, W) int64 in [0, K) or `ignore_label`.
        label_smoothing: in [0, 1).

    Raises:
        ValueError: the logits and labels do not match, see `check_match`.
    """
    check_match(logits, labels, ignore_label)

    def cross_entropy(chunk: Tensor, rows: slice) -> Tensor:
        return F.cross_entropy(chunk, labels[:, rows], ignore_index=ignore_label, reduction="none",
                               label_smoothing=label_smoothing)

    return map_row_chunks(logits, labels.shape[-2:], cross_entropy)


def mean_over(values: Tensor, weights: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Returns the weighted mean sum(w v) / sum(w); exactly 0, with zero gradient, if sum(w) is 0.

    Args:
        values: any shape.
        weights: of the shape of `values`, at least 0; a bool mask counts as 0 and 1.
        dim: the dimensions to reduce; all when None.
    """
    total = weights.sum(dim)
    return (values * weights).sum(dim) / torch.where(total > 0, total, 1)


def kth_largest(values: Tensor, k: int) -> Tensor:
    """Returns the k-th largest value as a scalar without gradient; does not sort.

    Args:
        k: at least 1. With fewer than k values, the smallest value is returned.
    """
    flat = values.detach().flatten()
    k = min(k, flat.numel())
    if flat.device.type == "cpu":
        # the k-th largest of n values has n - k values below it
        return _value_of_rank(flat, flat.numel() - k)
    # On a GPU, torch's kthvalue uses a single multiprocessor, and topk all of them.
    return flat.topk(k, sorted=False).values.min()


@torch.compiler.disable
def _value_of_rank(flat: Tensor, index: int) -> Tensor:
    """Returns the value at an index of the sorted values.

    numpy's selection takes linear time in the worst case. That of torch on a CPU takes quadratic
    time for values that decrease steadily.
    """
    return flat.new_tensor(np.partition(flat.numpy(), index)[index])


def check_match(logits: Tensor, labels: Tensor, ignore_label: int) -> None:
    """Checks the shapes of logits and labels, and on a CPU also the values of the labels.

    Args:
        logits: (N, K, h, w).
        labels: (N, H, W).

    Raises:
        ValueError: the batch sizes differ, the logits are larger than the labels, or a label is
            neither a class of the logits nor `ignore_label`.
    """
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not "
                         "match: expected (N, K, h, w) and (N, H, W) with the same N")
    height, width = labels.shape[-2:]
    if logits.shape[2] > height or logits.shape[3] > width:
        raise ValueError(f"logits {tuple(logits.shape)} are larger than the labels "
                         f"{tuple(labels.shape)}: a criterion resizes logits up to the labels, "
                         "never down")
    # reading values back from a GPU would wait for it
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        num_classes = logits.shape[1]
        is_unknown = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_label)
        if is_unknown.any():
            values = ", ".join(map(str, labels[is_unknown].unique().tolist()[:5]))
            raise ValueError(
                f"labels hold {values}, neither a class of the logits (0 to {num_classes - 1}) nor "
                f"the ignored value ({ignore_label}): raw ids that were not mapped to train ids, "
                "or a network built for another number of classes")
