"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002, equation 4)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from loss.cross_entropy import PixelLoss
from loss.pixel import mean_over, pixel_cross_entropy
from utils import IGNORE_LABEL


class FocalLoss(PixelLoss):
    """Mean over the labeled pixels of -(1 - p)^gamma log p.

    p is the softmax probability of the pixel's true class. The factor (1 - p)^gamma reduces the
    loss of easy pixels. Called as `CrossEntropy`.

    Args:
        gamma: at least 0; with 0 this is the cross entropy.
        class_weights: (K,), the paper's alpha: weights of the mean.

    Raises:
        ValueError: `gamma` is negative.
    """

    def __init__(self, gamma: float = 2.0, ignore_label: int = IGNORE_LABEL,
                 class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights, ignore_label)
        if gamma < 0:
            raise ValueError(f"the focal loss's gamma is at least 0, not {gamma} (--focal)")
        self.gamma = gamma

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = outputs["main"]
        losses = pixel_cross_entropy(logits, labels, self.ignore_label)
        # l = -log p, so 1 - p = 1 - exp(-l) = -expm1(-l), exact where p is near 1
        error = -torch.expm1(-losses)
        # For gamma < 1 the gradient of the power is infinite at 0. The floor keeps it finite, and
        # the loss there is 0 anyway.
        losses = error.clamp(min=1e-12) ** self.gamma * losses
        return {"main": mean_over(losses, self.weights(labels, logits.shape[1]))}
