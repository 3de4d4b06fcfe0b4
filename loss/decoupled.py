"""The joint loss of body, edge and final map (after Li et al., ECCV 2020, arXiv 2007.10035)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.criterion import Criterion
from loss.pixel import kth_largest, mean_over, pixel_cross_entropy
from loss.relaxation import RelaxedCrossEntropy
from utils import IGNORE_LABEL
from utils.resizing import upsampled


class JointBodyEdgeLoss(Criterion):
    """Four weighted terms for a network with body and edge outputs.

    - `main`: the criterion for the final map.
    - `body`: cross entropy of the body's map, with the labels relaxed at boundaries.
    - `edge`: binary cross entropy of the edge logits against the edges of the labels, averaged over
      the labeled pixels.
    - `edge_main`: cross entropy of the final map, summed over the hard pixels at edges and divided
      by the number of hard pixels. A pixel is hard if its loss is among the largest `hard_share` of
      the batch, and at an edge if the sigmoid of its edge logit is above `edge_thresh`.

    Called with outputs `main`, `body` (N, K, h, w) and `edge` (N, 1, h, w) logits, which may differ
    in size, and labels (N, H, W).

    Args:
        final: the criterion for the final map, which names its terms.
        body_weight, edge_weight, edge_main_weight: factors of the terms. The defaults are those of
            PaddleSeg's port of the network, whose edge term balances edge and other pixels.
        edge_thresh: probability in (0, 1).
        hard_share: fraction of the batch's pixels, in (0, 1].
        radius: in pixels; a pixel is at an edge if another class is at most this far away.

    Raises:
        ValueError: when called with outputs without `body` or `edge`.
    """

    def __init__(self, final: Criterion, ignore_label: int = IGNORE_LABEL, *,
                 body_weight: float = 1.0, edge_weight: float = 25.0,
                 edge_main_weight: float = 1.0, edge_thresh: float = 0.8,
                 hard_share: float = 0.1, radius: int = 2) -> None:
        super().__init__()
        self.final = final
        self.body = RelaxedCrossEntropy(bound=0.0, ignore_label=ignore_label)
        self.body_weight, self.edge_weight = body_weight, edge_weight
        self.edge_main_weight = edge_main_weight
        self.edge_thresh, self.hard_share = edge_thresh, hard_share
        self.radius, self.ignore_label = radius, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        if not {"body", "edge"} <= outputs.keys():
            raise ValueError("the joint loss needs a network with body and edge outputs in "
                             f"training (decouple_resnet50), not only {', '.join(outputs)}: leave "
                             "out --joint_edgeseg_loss")
        valid = labels != self.ignore_label
        edge = upsampled(outputs["edge"], labels.shape[-2:])[:, 0]
        is_edge = edges(labels, self.radius, self.ignore_label).to(edge.dtype)
        edge_losses = F.binary_cross_entropy_with_logits(edge, is_edge, reduction="none")
        edge_main = self._edge_main(outputs["main"], edge, labels)
        return {
            **self.final(outputs, labels),
            "body": self.body_weight * self.body({"main": outputs["body"]}, labels)["main"],
            "edge": self.edge_weight * mean_over(edge_losses, valid),
            "edge_main": self.edge_main_weight * edge_main,
        }

    def _edge_main(self, logits: Tensor, edge: Tensor, labels: Tensor) -> Tensor:
        """Returns the loss of the hard pixels at edges, divided by the number of hard pixels.

        Args:
            logits: (N, K, h, w) of the final map.
            edge: (N, H, W) logits.
            labels: (N, H, W).
        """
        losses = pixel_cross_entropy(logits, labels, self.ignore_label)
        valid = labels != self.ignore_label
        count = max(1, int(self.hard_share * losses.numel()))
        with torch.no_grad():
            is_hard = (losses >= kth_largest(losses.masked_fill(~valid, -1.0), count)) & valid
            is_hard &= edge.sigmoid() > self.edge_thresh
        return (losses * is_hard).sum() / count

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """As `Criterion`; None for `edge_main`, whose pixels are selected by the logits."""
        return {**self.final.normalizers(labels),
                "body": self.body.normalizers(labels)["main"],
                "edge": (labels != self.ignore_label).sum().float(),
                "edge_main": None}

    def set_epoch(self, epoch: int) -> None:
        self.final.set_epoch(epoch)

    def set_step(self, step: int) -> None:
        self.final.set_step(step)


def edges(labels: Tensor, radius: int, ignore_label: int) -> Tensor:
    """Returns where classes meet, (N, H, W) bool: labeled pixels near a pixel of another class.

    The neighborhood is a square of side 2 * radius + 1 pixels. It holds more than one class if its
    largest label differs from its smallest. The border of an ignored region is not an edge.
    """
    ignored = labels == ignore_label
    values = labels.float()

    def window_max(maps: Tensor) -> Tensor:
        maps = maps.masked_fill(ignored, -torch.inf)[:, None]
        # of the columns, then of the rows: the time grows with the side, not with its square
        for size, padding in ((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius)):
            maps = F.max_pool2d(maps, size, stride=1, padding=padding)
        return maps[:, 0]

    # min(v) = -max(-v)
    return (window_max(values) > -window_max(-values)) & ~ignored
