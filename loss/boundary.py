"""Boundary supervision: an auxiliary output learns where the classes of the labels meet."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from loss.criterion import Criterion
from loss.decoupled import edges
from utils import IGNORE_LABEL
from utils.resizing import upsampled


class BoundaryLoss(Criterion):
    """Binary cross entropy of the boundary logits, with equal weight for edge and other pixels.

    With n_e edge pixels, n_o other pixels and n = n_e + n_o labeled ones, an edge pixel has the
    weight n_o / n and another one n_e / n:

        1 / n (n_o / n sum over edge pixels of l + n_e / n sum over others of l).

    Source: PIDNet (Xu et al., CVPR 2023, arXiv 2206.02066), which weights it by 20. Edges lie where
    two classes of the labels meet; ignored pixels are neither and make no edges.

    Called with outputs, which hold `boundary` (N, 1, h, w) logits, and labels (N, H, W). Returns
    {"boundary": scalar}, exactly 0 with zero gradient without any edge.

    Args:
        weight: factor of the term.
        width: of an edge in pixels of the labels, even: half of it lies in each class.

    Raises:
        ValueError: when called with outputs without `boundary`.
    """

    def __init__(self, weight: float = 1.0, width: int = 4,
                 ignore_label: int = IGNORE_LABEL) -> None:
        super().__init__()
        self.weight, self.radius, self.ignore_label = weight, width // 2, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        if "boundary" not in outputs:
            raise ValueError("the boundary loss needs the output boundary of a network with "
                             f"training heads, not only {', '.join(outputs)}")
        logits = upsampled(outputs["boundary"], labels.shape[-2:])[:, 0]
        is_edge = edges(labels, self.radius, self.ignore_label)
        is_other = (labels != self.ignore_label) & ~is_edge
        edge_count, other_count = is_edge.sum(), is_other.sum()
        count = (edge_count + other_count).clamp(min=1)
        weights = (is_edge * other_count + is_other * edge_count) / count
        losses = F.binary_cross_entropy_with_logits(logits, is_edge.to(logits.dtype),
                                                    reduction="none")
        return {"boundary": self.weight * (weights * losses).sum() / count}

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns None: the weights depend on the pixels of the forward pass."""
        return {"boundary": None}
