"""Plain cross entropy over the pixels that have a label."""
from __future__ import annotations

from torch import Tensor

from loss.criterion import Criterion
from loss.pixelwise import mean_over, pixel_cross_entropy


class CrossEntropy(Criterion):
    """Mean cross entropy of `outputs["main"]` over the pixels that are not ignored.

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns {"main": scalar},
    exactly 0 with zero gradient where every pixel is ignored.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label)
        return {"main": mean_over(losses, labels != self.ignore_label)}

    def denominator(self, labels: Tensor) -> Tensor:
        return (labels != self.ignore_label).sum().float()
