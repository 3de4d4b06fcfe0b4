"""The confidence of a network at each pixel, without full-size probabilities.

With p the probabilities of the classes at a pixel, largest first:

    probability  p_1, that of the chosen class
    margin       p_1 - p_2, its lead over the second class
    entropy      -sum_k p_k log p_k / log K, 0 for one certain class and 1 for equal ones
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from utils.resizing import for_each_chunk, matrix_rows

# values in one chunk on a CPU, in float32 1 MB: about a core's second-level cache
CHUNK_VALUES = 1 << 18
MEASURES = ("probability", "margin", "entropy")
# averaged probabilities are not smaller than this when their logarithm is taken
SMALLEST_PROBABILITY = 1e-12


class Confidence(NamedTuple):
    """The label maps of images, with maps of their confidence.

    Attributes:
        labels: (N, H, W) uint8 train ids.
        maps: name of `MEASURES` -> (N, H, W) float32 in [0, 1].
    """

    labels: Tensor
    maps: dict[str, Tensor]


def confidence_maps(logits: Tensor, size: tuple[int, int],
                    measures: Sequence[str] = MEASURES) -> dict[str, Tensor]:
    """Returns measure -> (N, H, W) float32 for logits (N, K, h, w) that are resized to (H, W).

    Resizing is bilinear with aligned corners, in float32, a chunk of rows at a time. Log
    probabilities are logits too.

    Args:
        logits: divided by the temperature.
        measures: some of `MEASURES`; others are not computed.
    """
    logits = logits.float()
    maps = {name: logits.new_empty(len(logits), *size) for name in measures}
    # at their own size, chunks are slices of the logits, which stay as they are
    is_slice = logits.shape[-2:] == size or logits.device.type != "cpu"
    chunk_values = CHUNK_VALUES if logits.device.type == "cpu" else None

    def measure_rows(rows: slice, chunk: Tensor) -> None:
        for name, values in _measure(chunk.clone() if is_slice else chunk, measures).items():
            maps[name][:, rows] = values

    for_each_chunk(logits, size, matrix_rows, chunk_values, measure_rows)
    return maps


def _measure(logits: Tensor, measures: Sequence[str]) -> dict[str, Tensor]:
    """Returns measure -> (N, H, W) for logits (N, K, H, W), which are overwritten.

    With d_k = z_k - max z <= 0 and S = sum_k exp d_k: p_1 = 1 / S, p_2 = exp d_2 / S, and the
    entropy is log S - sum_k d_k exp d_k / S.
    """
    differences = logits.sub_(logits.amax(dim=1, keepdim=True))
    powers = differences.exp() if "entropy" in measures else differences.exp_()
    total = powers.sum(1)
    values: dict[str, Tensor] = {}
    if "probability" in measures:
        values["probability"] = total.reciprocal()
    if "entropy" in measures:
        entropy = total.log() - differences.mul_(powers).sum(1) / total
        values["entropy"] = (entropy / math.log(logits.shape[1])).clamp_(0, 1)
    if "margin" in measures:
        chosen = powers.max(dim=1, keepdim=True).indices
        second = powers.scatter_(1, chosen, 0).amax(1)
        values["margin"] = (1 - second) / total
    return values


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Turns probabilities into their logarithms, in place."""
    return probabilities.clamp_(min=SMALLEST_PROBABILITY).log_()


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Returns p_k^(1/T) / sum_j p_j^(1/T) for probabilities (N, K, H, W), which may be overwritten.

    For one forward pass this is softmax(z / T): temperature scaling (Guo et al., "On Calibration
    of Modern Neural Networks", ICML 2017, section 4.2). It also applies to averages over views.
    """
    if temperature == 1:
        return probabilities
    return torch.softmax(log_probabilities(probabilities).div_(temperature), dim=1)
