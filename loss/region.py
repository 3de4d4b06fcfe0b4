"""The base class of losses that compare regions, such as Dice and Lovász-softmax."""
from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from loss.criterion import Criterion
from loss.pixel import check_match
from utils import IGNORE_LABEL


class RegionLoss(Criterion):
    """Base class of losses that measure how well predicted and labeled regions overlap.

    The single term is a ratio of sums over the batch, not a mean over pixels. Called as
    `CrossEntropy`; returns {`term`: scalar}, 0 with zero gradient where every pixel is ignored.

    Args:
        weight: factor of the term.

    Attributes:
        term: the name of the term.
    """

    term: str

    def __init__(self, weight: float = 1.0, ignore_label: int = IGNORE_LABEL) -> None:
        super().__init__()
        self.weight, self.ignore_label = weight, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        check_match(outputs["main"], labels, self.ignore_label)
        return {self.term: self.weight * self.loss(outputs["main"], labels)}

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the scalar for logits (N, K, h, w) and labels (N, H, W)."""

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns None: the term is not a mean."""
        return {self.term: None}
