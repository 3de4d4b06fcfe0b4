"""Soft Dice loss (V-Net, Milletari et al., 3DV 2016, arXiv 1606.04797), averaged over the classes."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.criterion import Criterion
from loss.pixelwise import check, over_bands


class DiceLoss(Criterion):
    """1 - 2 sum(p y) / (sum p + sum y) over the batch's labelled pixels, averaged over the classes that are there.

    The paper squares p and y in the denominator; without, it is the soft form of the F-measure.

    Args:
        weight: factor of the term.

    Called as `CrossEntropy`; returns {"dice": scalar}, 0 with zero gradient where every pixel is ignored.
    """

    def __init__(self, weight: float = 1.0, ignore_label: int = 255) -> None:
        super().__init__()
        self.weight, self.ignore_label = weight, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = outputs["main"]
        check(logits, labels, self.ignore_label)
        valid = labels != self.ignore_label
        classes = torch.where(valid, labels, 0)

        def sums(band: Tensor, rows: slice) -> Tensor:
            """(3, K): sums of p y, of p and of y."""
            mask = valid[:, None, rows]
            scores = band.softmax(1) * mask
            truth = torch.zeros_like(scores).scatter_(1, classes[:, None, rows], mask.to(scores.dtype))
            return torch.stack([each.sum((0, 2, 3)) for each in (scores * truth, scores, truth)])

        overlap, predicted, true = over_bands(logits, labels.shape[-2:], sums, summed=True)
        there = true > 0
        losses = 1 - 2 * overlap / (predicted + true).clamp(min=1e-12)
        return {"dice": self.weight * (losses * there).sum() / there.sum().clamp(min=1)}

    def denominators(self, labels: Tensor) -> dict[str, Tensor | None]:
        """None: it is a ratio of sums over the batch, not a mean."""
        return {"dice": None}
