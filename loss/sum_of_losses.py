"""Several criteria on the same outputs."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from loss.criterion import Criterion


class SumOfLosses(Criterion):
    """Returns the terms of several criteria together.

    Args:
        criteria: criteria with different names for their terms.
    """

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        super().__init__()
        self.criteria = nn.ModuleList(criteria)

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for criterion in self._iterate():
            terms.update(criterion(outputs, labels))
        return terms

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        normalizers: dict[str, Tensor | None] = {}
        for criterion in self._iterate():
            normalizers.update(criterion.normalizers(labels))
        return normalizers

    def set_epoch(self, epoch: int) -> None:
        for criterion in self._iterate():
            criterion.set_epoch(epoch)

    def set_step(self, step: int) -> None:
        for criterion in self._iterate():
            criterion.set_step(step)

    def _iterate(self) -> Iterator[Criterion]:
        """Yields the criteria with their type, which a ModuleList does not know."""
        for criterion in self.criteria:
            assert isinstance(criterion, Criterion)
            yield criterion
