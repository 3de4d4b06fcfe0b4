"""Boundary label relaxation (Zhu et al., CVPR 2019, arXiv 1812.01593), from plain labels."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.image_weighted import ImageWeightedCrossEntropy
from loss.pixel import check, map_row_chunks


class RelaxedCrossEntropy(ImageWeightedCrossEntropy):
    """-log of the summed probability of all classes within a pixel's 3x3 window; inside a region plain cross entropy.

    Ignored pixels are neither trained on nor candidates. Pixels are weighed by their own class and images averaged as
    in `ImageWeightedCrossEntropy`; `bound` 0 weighs all pixels of an image alike.

    Args:
        bound, per_batch: as there.
        strict_classes: train ids whose pixels keep their one label.
        off_epoch: epochs that relax; from this one on, counted from 0, every pixel keeps its label. None for always.

    Called as `CrossEntropy`.
    """

    strict_classes: Tensor

    def __init__(self, bound: float = 1.0, per_batch: bool = False, strict_classes: Sequence[int] = (),
                 off_epoch: int | None = None, ignore_label: int = 255) -> None:
        super().__init__(bound, per_batch, ignore_label)
        self.register_buffer("strict_classes", torch.tensor(strict_classes, dtype=torch.long))
        self.off_epoch = off_epoch
        self.relaxes = off_epoch != 0

    def set_epoch(self, epoch: int) -> None:
        self.relaxes = self.off_epoch is None or epoch < self.off_epoch

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not self.relaxes:
            return super().losses(logits, labels)
        check(logits, labels, self.ignore_label)
        num_classes = logits.shape[1]
        ignored = labels == self.ignore_label
        labels = labels.masked_fill(ignored, num_classes)
        keeps_label = ignored | torch.isin(labels, self.strict_classes)
        around = F.pad(labels, (1, 1, 1, 1), value=num_classes)

        def relaxed(band: Tensor, rows: slice) -> Tensor:
            own, keep = labels[:, rows], keeps_label[:, rows]
            candidates = band.new_zeros((len(band), num_classes + 1, *band.shape[-2:]), dtype=torch.bool)
            for down in range(3):
                for right in range(3):
                    there = around[:, rows.start + down:rows.stop + down, right:right + band.shape[-1]]
                    candidates.scatter_(1, torch.where(keep, own, there)[:, None], True)
            taken = candidates[:, :num_classes] | ignored[:, None, rows]
            band = band - band.detach().amax(1, keepdim=True)       # so that the difference keeps its digits
            return band.logsumexp(1) - band.masked_fill(~taken, -torch.inf).logsumexp(1)

        return map_row_chunks(logits, labels.shape[-2:], relaxed)
