"""Boundary label relaxation (Zhu et al., CVPR 2019, arXiv 1812.01593)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.image_weighted import ImageWeightedCrossEntropy
from loss.pixel import check_match
from utils import IGNORE_LABEL
from utils.resizing import map_row_chunks


class RelaxedCrossEntropy(ImageWeightedCrossEntropy):
    """The loss -log sum_{c in C} p_c, with C the classes in the 3x3 window around the pixel.

    Inside a region C has one class and this is the cross entropy; at a boundary any of the classes
    that meet is accepted. Ignored pixels have no loss and add no class to C. The mean is that of
    `ImageWeightedCrossEntropy`; with `bound` 0 all pixels of an image have the same weight.

    Called as `CrossEntropy`.

    Args:
        bound, per_batch: as in `ImageWeightedCrossEntropy`.
        strict_classes: train ids whose pixels keep their label as the only class.
        off_epoch: from this epoch on, counted from 0, no pixel is relaxed; None relaxes always.
    """

    strict_classes: Tensor

    def __init__(self, bound: float = 1.0, per_batch: bool = False,
                 strict_classes: Sequence[int] = (), off_epoch: int | None = None,
                 ignore_label: int = IGNORE_LABEL) -> None:
        super().__init__(bound, per_batch, ignore_label)
        self.register_buffer("strict_classes", torch.tensor(strict_classes, dtype=torch.long))
        self.off_epoch = off_epoch
        self.relaxes = off_epoch != 0

    def set_epoch(self, epoch: int) -> None:
        self.relaxes = self.off_epoch is None or epoch < self.off_epoch

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not self.relaxes:
            return super().losses(logits, labels)
        check_match(logits, labels, self.ignore_label)
        num_classes = logits.shape[1]
        ignored = labels == self.ignore_label
        # ignored pixels and the border have the class K, which is dropped from C
        labels = labels.masked_fill(ignored, num_classes)
        padded = F.pad(labels, (1, 1, 1, 1), value=num_classes)
        keeps_label = ignored | torch.isin(labels, self.strict_classes)

        def relaxed(chunk: Tensor, rows: slice) -> Tensor:
            width = chunk.shape[-1]
            shape = len(chunk), num_classes + 1, *chunk.shape[-2:]
            accepted = chunk.new_zeros(shape, dtype=torch.bool)
            for down in range(3):
                for right in range(3):
                    # the label at (down - 1, right - 1) from the pixel
                    neighbor = padded[:, rows.start + down:rows.stop + down, right:right + width]
                    neighbor = torch.where(keeps_label[:, rows], labels[:, rows], neighbor)
                    accepted.scatter_(1, neighbor[:, None], True)
            # every class at an ignored pixel: its loss is 0
            accepted = accepted[:, :num_classes] | ignored[:, None, rows]
            # -log sum_C p = logsumexp(x) - logsumexp_C(x); a difference of small numbers keeps its
            # digits, so the largest logit is subtracted first
            chunk = chunk - chunk.detach().amax(1, keepdim=True)
            return chunk.logsumexp(1) - chunk.masked_fill(~accepted, -torch.inf).logsumexp(1)

        return map_row_chunks(logits, labels.shape[-2:], relaxed)
