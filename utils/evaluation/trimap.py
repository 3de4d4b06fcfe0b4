"""Scores near the borders of the classes, and away from them: where sharp predictions pay.

Source: Kohli et al., "Robust Higher Order Potentials for Enforcing Label Consistency", IJCV 2009,
section 6, which scores the pixels of a narrow band (a "trimap") along the labeled borders.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch

from utils.evaluation.metrics import IGNORE_LABEL, ConfusionMatrix, count_pairs, number

# Widest band in pixels. Published trimaps have up to 40 (DeepLab, arXiv 1606.00915); the time grows
# with the square of the width.
MOST_WIDTH = 40
# a class is thin if more than this fraction of its labeled pixels is near a border
THIN = 0.5


def border_band(labels: np.ndarray, width: int) -> np.ndarray:
    """Returns (H, W) bool: whether a pixel of another label is within `width` pixels.

    The distance is Euclidean. An ignored region is a label like any other here, as in the boundary
    F, so its border counts too.

    Args:
        labels: (H, W) uint8 class ids or the ignored label.
        width: in pixels, 1 or more.
    """
    offsets = np.arange(-width, width + 1)
    disc = (offsets[:, None] ** 2 + offsets ** 2 <= width ** 2).astype(np.uint8)
    # the largest and the smallest label in the disc differ where there are several
    return cv2.dilate(labels, disc) != cv2.erode(labels, disc)


def count(predictions: np.ndarray, labels: np.ndarray, num_classes: int,
          width: int) -> np.ndarray:
    """Returns (K, K) int64: the confusion counts of the pixels near a border; rows are labels.

    Args:
        predictions: (H, W) uint8 class ids.
        labels: (H, W) uint8 class ids or the ignored label.
        width: see `border_band`.
    """
    near = np.where(border_band(labels, width), labels, np.uint8(IGNORE_LABEL))
    return count_pairs(torch.from_numpy(predictions), torch.from_numpy(near), num_classes).numpy()


def summarize(total: np.ndarray, border: np.ndarray, names: Sequence[str],
              width: int) -> dict[str, Any]:
    """Returns the scores near and away from borders in JSON types, None where one is undefined.

    Args:
        total: (K, K) counts of all pixels of all images; rows are labels.
        border: (K, K) counts of the pixels near a border.
        names: the K class names.
        width: see `border_band`.

    Returns:
        `width`; `share` of the pixels near a border, and `per_class_share`; `border` and `interior`
        with `mIoU` and `per_class_IoU`; `thin` and `large` with their `classes` and the `mIoU` of
        these over all pixels.
    """
    labeled, near = total.sum(1), border.sum(1)
    shares = [pixels / of if of else math.nan
              for pixels, of in zip(near.tolist(), labeled.tolist(), strict=True)]
    thin = thin_classes(total, border)
    iou = _matrix(total).iou()
    return {
        "width": width,
        "share": number(near.sum() / labeled.sum() if labeled.any() else math.nan),
        "per_class_share": dict(zip(names, map(number, shares), strict=True)),
        "border": _scores(border, names),
        "interior": _scores(total - border, names),
        **{group: {"classes": [name for name, chosen in zip(names, members, strict=True)
                               if chosen],
                   "mIoU": number(iou[torch.from_numpy(members)].nanmean().item())}
           for group, members in (("thin", thin), ("large", ~thin & (labeled > 0)))},
    }


def thin_classes(total: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Returns (K,) bool: whether more than `THIN` of a class's labeled pixels is near a border.

    Poles, signs and persons are thin in street scenes. Args: see `summarize`.
    """
    return border.sum(1) > THIN * total.sum(1)


def _matrix(counts: np.ndarray) -> ConfusionMatrix:
    matrix = ConfusionMatrix(len(counts))
    matrix.add(torch.from_numpy(np.ascontiguousarray(counts, np.int64)))
    return matrix


def _scores(counts: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    matrix = _matrix(counts)
    return {"mIoU": number(matrix.mean_iou()),
            "per_class_IoU": dict(zip(names, map(number, matrix.iou().tolist()), strict=True))}
