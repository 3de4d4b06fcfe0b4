"""Online hard example mining (Shrivastava et al., CVPR 2016, arXiv 1604.03540) over pixels, as SFNet trains."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from loss.criterion import Criterion
from loss.pixelwise import mean_over, pixel_cross_entropy


class OhemCrossEntropy(Criterion):
    """Mean cross entropy of `outputs["main"]` over its hard pixels.

    A pixel is hard when the softmax probability of its true class is at most `thresh`; at least the `min_kept` hardest
    of the batch are kept, and all of them where fewer have a label. The batch is the process's own, as published.

    Args:
        thresh: probability in (0, 1].
        min_kept: pixels of a batch.
        ignore_label: the label without a class.

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns {"main": scalar},
    exactly 0 with zero gradient where every pixel is ignored.
    """

    def __init__(self, thresh: float = 0.7, min_kept: int = 100_000, ignore_label: int = 255) -> None:
        super().__init__()
        if not 0 < thresh <= 1:
            raise ValueError(f"OHEM's thresh is a probability in (0, 1], not {thresh}")
        if min_kept < 1:
            raise ValueError(f"OHEM's min_kept is a number of pixels of at least 1, not {min_kept}")
        self.thresh, self.min_kept, self.ignore_label = thresh, min_kept, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label)
        valid = labels != self.ignore_label
        with torch.no_grad():
            kept = valid & (losses >= self._least_kept_loss(losses, valid))
        return {"main": mean_over(losses, kept)}

    def _least_kept_loss(self, losses: Tensor, valid: Tensor) -> Tensor:
        """p <= thresh is loss >= -log(thresh), lowered to the min_kept-th largest loss where that is less."""
        threshold = losses.new_tensor(-math.log(self.thresh))
        # On a CPU looking at a value is free and mostly spares the selection; a GPU would have to stop for it.
        if not losses.is_cuda and int((valid & (losses >= threshold)).sum()) >= self.min_kept:
            return threshold
        ranked = losses.masked_fill(~valid, -1.0).flatten()
        nth_largest = ranked.kthvalue(max(1, ranked.numel() - self.min_kept + 1)).values
        return torch.minimum(threshold, nth_largest)
