"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002, equation 4): easy pixels count less."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from loss.cross_entropy import PixelLoss
from loss.pixel import mean_over, pixel_cross_entropy


class FocalLoss(PixelLoss):
    """Mean over the labelled pixels of -(1 - p)^gamma log p, with p the softmax probability of the true class.

    Args:
        gamma: at least 0; with 0 it is the plain cross entropy.
        class_weights: the paper's alpha, one for each class, by which the mean is taken.

    Called as `CrossEntropy`.
    """

    def __init__(self, gamma: float = 2.0, ignore_label: int = 255,
                 class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights, ignore_label)
        if gamma < 0:
            raise ValueError(f"the focal loss's gamma is at least 0, not {gamma} (--focal)")
        self.gamma = gamma

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label)
        missed = -torch.expm1(-losses)                      # 1 - p, exact where p is near 1
        # The floor keeps the gradient of a power below 1 finite where p is 1; the loss is 0 there all the same.
        losses = missed.clamp(min=1e-12) ** self.gamma * losses
        return {"main": mean_over(losses, self.weights(labels, outputs["main"].shape[1]))}
