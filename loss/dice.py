"""Soft Dice loss (V-Net, Milletari et al., 3DV 2016, arXiv 1606.04797), averaged over the classes."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.pixel import map_row_chunks
from loss.region import RegionLoss


class DiceLoss(RegionLoss):
    """1 - 2 sum(p y) / (sum p + sum y) over the batch's labelled pixels, averaged over the classes that are there.

    The paper squares p and y in the denominator; without, it is the soft form of the F-measure.
    """

    term = "dice"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != self.ignore_label
        classes = torch.where(valid, labels, 0)

        def sums(band: Tensor, rows: slice) -> Tensor:
            """(3, K): sums of p y, of p and of y."""
            mask = valid[:, None, rows]
            scores = band.softmax(1) * mask
            truth = torch.zeros_like(scores).scatter_(1, classes[:, None, rows], mask.to(scores.dtype))
            return torch.stack([each.sum((0, 2, 3)) for each in (scores * truth, scores, truth)])

        overlap, predicted, true = map_row_chunks(logits, labels.shape[-2:], sums, summed=True)
        there = true > 0
        losses = 1 - 2 * overlap / (predicted + true).clamp(min=1e-12)
        return (losses * there).sum() / there.sum().clamp(min=1)
