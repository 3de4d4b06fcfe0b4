"""Several criteria on the same outputs."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from loss.criterion import Criterion


class Combination(Criterion):
    """All terms of several criteria, which name them differently."""

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        super().__init__()
        self.criteria = nn.ModuleList(criteria)

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {name: term for criterion in self.criteria for name, term in criterion(outputs, labels).items()}

    def denominator(self, labels: Tensor) -> None:
        """None: the criteria divide by different things."""

    def set_epoch(self, epoch: int) -> None:
        for criterion in self.criteria:
            assert isinstance(criterion, Criterion)
            criterion.set_epoch(epoch)
