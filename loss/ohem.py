"""Online hard example mining (Shrivastava et al., CVPR 2016, arXiv 1604.03540) over pixels, as SFNet trains."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from loss.cross_entropy import PixelLoss
from loss.pixel import largest, mean_over, pixel_cross_entropy


class OhemCrossEntropy(PixelLoss):
    """Mean cross entropy of `outputs["main"]` over its hard pixels.

    A pixel is hard when the softmax probability of its true class is at most `thresh`; at least the `min_kept` hardest
    of the batch are kept, and all of them where fewer have a label. The batch is the process's own, as published.

    Args:
        thresh: probability in (0, 1].
        min_kept: pixels of a batch; below 1, a share of the pixels of a batch.
        ignore_label: the label without a class.
        class_weights: one for each class, by which the mean over the kept pixels is taken; they select nothing.

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns {"main": scalar},
    exactly 0 with zero gradient where every pixel is ignored.
    """

    def __init__(self, thresh: float = 0.7, min_kept: float = 100_000, ignore_label: int = 255,
                 class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights, ignore_label)
        if not 0 < thresh <= 1:
            raise ValueError(f"OHEM's thresh is a probability in (0, 1], not {thresh} (--ohem_thresh)")
        if min_kept <= 0 or (min_kept > 1 and min_kept != int(min_kept)):
            raise ValueError("OHEM's min_kept is a number of pixels of at least 1, or a share of them below 1, not "
                             f"{min_kept} (--ohem_min_kept)")
        self.thresh, self.min_kept = thresh, min_kept

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label)
        valid = labels != self.ignore_label
        with torch.no_grad():
            kept = valid & (losses >= self._least_kept_loss(losses, valid))
        if self.class_weights is None:
            return {"main": mean_over(losses, kept)}
        return {"main": mean_over(losses, kept * self.weights(labels, outputs["main"].shape[1]))}

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """None: which pixels the mean is over depends on the logits of the process's own batch."""
        return {"main": None}

    def _least_kept_loss(self, losses: Tensor, valid: Tensor) -> Tensor:
        """p <= thresh is loss >= -log(thresh), lowered to the min_kept-th largest loss where that is less."""
        threshold = losses.new_full((), -math.log(self.thresh))        # a tensor made of a number would wait for a GPU
        count = max(1, int(self.min_kept * losses.numel()) if self.min_kept < 1 else int(self.min_kept))
        # On a CPU looking at a value is free and mostly spares the selection; a GPU would have to stop for it.
        may_look = losses.device.type == "cpu" and not torch.compiler.is_compiling()
        if may_look and int((valid & (losses >= threshold)).sum()) >= count:
            return threshold
        return torch.minimum(threshold, largest(losses.masked_fill(~valid, -1.0), count))
