"""The joint loss of body, edge and final map (after DecoupleSegNets, Li et al., ECCV 2020, arXiv 2007.10035)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.criterion import Criterion
from loss.pixel import largest, mean_over, pixel_cross_entropy, raised
from loss.relaxation import RelaxedCrossEntropy


class JointBodyEdgeLoss(Criterion):
    """The weighted sum of four terms, each of which supervises a part.

    - `main`: the criterion for the final map.
    - `body`: the body's map, with the labels relaxed at the boundaries.
    - `edge`: binary cross entropy of the edge logits against the edges of the labels, all pixels alike.
    - `edge_main`: cross entropy of the final map where the edge logits tell an edge with more than `edge_thresh`,
      and the loss is among the largest `hard_share` of the batch's pixels; divided by the number of those.

    Args:
        final: the criterion for the final map; it names its terms.
        body_weight, edge_weight, edge_main_weight: the factors; 1, 25 and 1 are those that PaddleSeg's port of the
            network trains with, on an edge term that balances edges and other pixels.
        edge_thresh: probability in (0, 1).
        hard_share: of the batch's pixels, in (0, 1].
        radius: half the width of an edge in pixels, less the middle one.

    Called with outputs `main`, `body` (N, K, h, w) and `edge` (N, 1, h, w) logits, each of its own size, and labels.

    Raises:
        ValueError: when called with the outputs of a network that has no body and edge.
    """

    def __init__(self, final: Criterion, ignore_label: int = 255, *, body_weight: float = 1.0,
                 edge_weight: float = 25.0, edge_main_weight: float = 1.0, edge_thresh: float = 0.8,
                 hard_share: float = 0.1, radius: int = 2) -> None:
        super().__init__()
        self.final, self.body = final, RelaxedCrossEntropy(bound=0.0, ignore_label=ignore_label)
        self.body_weight, self.edge_weight, self.edge_main_weight = body_weight, edge_weight, edge_main_weight
        self.edge_thresh, self.hard_share = edge_thresh, hard_share
        self.radius, self.ignore_label = radius, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        if not {"body", "edge"} <= outputs.keys():
            raise ValueError("the joint loss needs a network that gives body and edge in training, such as "
                             f"decouple_resnet50, not only {', '.join(outputs)}: leave out --joint_edgeseg_loss")
        valid = labels != self.ignore_label
        edge = raised(outputs["edge"], labels.shape[-2:])[:, 0]
        truth = edges(labels, self.radius, self.ignore_label).to(edge.dtype)
        misses = F.binary_cross_entropy_with_logits(edge, truth, reduction="none")

        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label)
        count = max(1, int(self.hard_share * losses.numel()))
        with torch.no_grad():
            hard = (losses >= largest(losses.masked_fill(~valid, -1.0), count)) & valid
            hard &= edge.sigmoid() > self.edge_thresh
        return {
            **self.final(outputs, labels),
            "body": self.body_weight * self.body({"main": outputs["body"]}, labels)["main"],
            "edge": self.edge_weight * mean_over(misses, valid),
            "edge_main": self.edge_main_weight * (losses * hard).sum() / count,
        }

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """None for `edge_main`, whose pixels are selected by the logits of the process's own batch."""
        return {**self.final.normalizers(labels), "body": self.body.normalizers(labels)["main"],
                "edge": (labels != self.ignore_label).sum().float(), "edge_main": None}

    def set_epoch(self, epoch: int) -> None:
        self.final.set_epoch(epoch)


def edges(labels: Tensor, radius: int, ignore_label: int) -> Tensor:
    """Returns where two classes meet, (N, H, W) bool: labelled pixels with another class within the radius.

    The neighborhood is a square; the border of an ignored region is no edge.
    """
    ignored = labels == ignore_label
    values = labels.float()

    def highest(of: Tensor) -> Tensor:
        return F.max_pool2d(of.masked_fill(ignored, -torch.inf)[:, None], 2 * radius + 1, 1, radius)[:, 0]

    return (highest(values) > -highest(-values)) & ~ignored
