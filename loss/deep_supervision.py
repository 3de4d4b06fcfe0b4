"""The same criterion on the output and on each auxiliary (SFNet, arXiv 2002.10120)."""
from __future__ import annotations

from torch import Tensor

from loss.criterion import Criterion


class DeepSupervision(Criterion):
    """Applies a criterion to `main` and, weighted, to `aux0`, `aux1`, ...

    Args:
        criterion: a base criterion, which reads `main` alone.
        aux_weight: factor of each auxiliary's loss.

    Called with outputs and labels as the criterion; returns its terms for `main` as they are and one term, already
    weighted, for each auxiliary under the auxiliary's name.
    """

    def __init__(self, criterion: Criterion, aux_weight: float = 1.0) -> None:
        super().__init__()
        self.criterion = criterion
        self.aux_weight = aux_weight

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        terms = dict(self.criterion(outputs, labels))
        for name, logits in outputs.items():
            if name.startswith("aux"):
                terms[name] = self.aux_weight * self.criterion({"main": logits}, labels)["main"]
        return terms

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        return self.criterion.normalizers(labels)

    def set_epoch(self, epoch: int) -> None:
        self.criterion.set_epoch(epoch)
