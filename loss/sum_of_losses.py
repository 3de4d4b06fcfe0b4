"""Several criteria on the same outputs."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from loss.criterion import Criterion


class SumOfLosses(Criterion):
    """All terms of several criteria, which name them differently."""

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        super().__init__()
        self.criteria = nn.ModuleList(criteria)

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {name: term for each in self._each() for name, term in each(outputs, labels).items()}

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        return {name: own for each in self._each() for name, own in each.normalizers(labels).items()}

    def set_epoch(self, epoch: int) -> None:
        for criterion in self._each():
            criterion.set_epoch(epoch)

    def _each(self) -> Iterator[Criterion]:
        for criterion in self.criteria:
            assert isinstance(criterion, Criterion)
            yield criterion
