"""Online hard example mining over pixels (Shrivastava et al., CVPR 2016, arXiv 1604.03540)."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from loss.cross_entropy import PixelLoss
from loss.pixel import kth_largest, mean_over, pixel_cross_entropy
from utils import IGNORE_LABEL


class OhemCrossEntropy(PixelLoss):
    """Mean cross entropy of `outputs["main"]` over its hard pixels, as SFNet trains.

    With p the softmax probability of a pixel's true class and l = -log p its loss, the pixel is
    hard if p <= thresh. At least the `min_kept` pixels with the largest loss are kept, or all
    labeled pixels if there are fewer:

        kept = {l >= min(-log(thresh), the min_kept-th largest l)}

    Each process selects the hard pixels of its own batch, as in the published code.

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns
    {"main": scalar}, exactly 0 with zero gradient where every pixel is ignored.

    Args:
        thresh: probability in (0, 1].
        min_kept: number of pixels of a batch; below 1, a fraction of the batch's pixels.
        class_weights: (K,), weights of the mean over the kept pixels; they do not affect which
            pixels are kept.

    Raises:
        ValueError: `thresh` or `min_kept` is out of range.
    """

    def __init__(self, thresh: float = 0.7, min_kept: float = 100_000,
                 ignore_label: int = IGNORE_LABEL,
                 class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights, ignore_label)
        if not 0 < thresh <= 1:
            raise ValueError(
                f"OHEM's thresh is a probability in (0, 1], not {thresh} (--ohem_thresh)")
        if min_kept <= 0 or (min_kept > 1 and min_kept != int(min_kept)):
            raise ValueError("OHEM's min_kept is a number of pixels of at least 1, or a fraction "
                             f"below 1, not {min_kept} (--ohem_min_kept)")
        self.thresh, self.min_kept = thresh, min_kept

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = outputs["main"]
        losses = pixel_cross_entropy(logits, labels, self.ignore_label)
        valid = labels != self.ignore_label
        with torch.no_grad():
            kept = valid & (losses >= self._smallest_kept_loss(losses, valid))
        if self.class_weights is None:
            return {"main": mean_over(losses, kept)}
        return {"main": mean_over(losses, kept * self.weights(labels, logits.shape[1]))}

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns None: the kept pixels depend on the logits of the forward pass."""
        return {"main": None}

    def _smallest_kept_loss(self, losses: Tensor, valid: Tensor) -> Tensor:
        """Returns the scalar min(-log(thresh), the min_kept-th largest loss).

        Args:
            losses: (N, H, W).
            valid: (N, H, W) bool, the labeled pixels.
        """
        # new_full runs on the device; a tensor made from a number would wait for a GPU
        threshold = losses.new_full((), -math.log(self.thresh))
        count = self.min_kept
        if count < 1:
            count = count * losses.numel()
        count = max(1, int(count))
        # If enough pixels are above the threshold, the selection is not needed. The check is cheap
        # on a CPU; on a GPU it would force a synchronization.
        may_check = losses.device.type == "cpu" and not torch.compiler.is_compiling()
        if may_check and int((valid & (losses >= threshold)).sum()) >= count:
            return threshold
        # a loss is at least 0, so -1 sorts the ignored pixels last
        return torch.minimum(threshold, kth_largest(losses.masked_fill(~valid, -1.0), count))
