"""Soft Dice loss (V-Net, Milletari et al., 3DV 2016, arXiv 1606.04797), averaged over classes."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.region import RegionLoss
from utils.resizing import map_row_chunks


class DiceLoss(RegionLoss):
    """The mean over the classes present in the labels of 1 - 2 sum(p y) / (sum(p) + sum(y)).

    The sums are over the labeled pixels of the batch. p is the softmax probability of the class,
    and y is 1 where the class is the pixel's label and 0 elsewhere. The paper squares p and y in
    the denominator; without squares this is 1 minus a soft F1 score.
    """

    term = "dice"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != self.ignore_label
        classes = torch.where(valid, labels, 0)

        def sums(chunk: Tensor, rows: slice) -> Tensor:
            """Returns the sums of p y, of p and of y for each class, (3, K)."""
            mask = valid[:, None, rows]
            p = chunk.softmax(1) * mask
            y = torch.zeros_like(p)
            y.scatter_(1, classes[:, None, rows], mask.to(p.dtype))
            return torch.stack([values.sum((0, 2, 3)) for values in (p * y, p, y)])

        intersection, predicted, labeled = map_row_chunks(
            logits, labels.shape[-2:], sums, summed=True)
        is_present = labeled > 0
        losses = 1 - 2 * intersection / (predicted + labeled).clamp(min=1e-12)
        return (losses * is_present).sum() / is_present.sum().clamp(min=1)
