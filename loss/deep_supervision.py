"""Deep supervision (SFNet, arXiv 2002.10120): one criterion for the output and each auxiliary."""
from __future__ import annotations

from torch import Tensor

from loss.criterion import Criterion


class DeepSupervision(Criterion):
    """Applies a criterion to `main` and, weighted, to `aux0`, `aux1`, ...

        loss = criterion(main) + aux_weight * sum_i criterion(aux_i)

    Called with outputs, which may hold `aux0`, `aux1`, ... (N, K, h, w) besides `main`, and labels
    (N, H, W). Returns the criterion's terms for `main`, and one weighted term for each auxiliary
    output under its name.

    Args:
        criterion: a criterion that reads `main` alone.
        aux_weight: factor of each auxiliary loss: 1 in SFNet, 0.4 in PSPNet (arXiv 1612.01105).
    """

    def __init__(self, criterion: Criterion, aux_weight: float = 1.0) -> None:
        super().__init__()
        self.criterion = criterion
        self.aux_weight = aux_weight

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        terms = dict(self.criterion(outputs, labels))
        for name, logits in outputs.items():
            if name.startswith("aux"):
                auxiliary_terms = self.criterion({"main": logits}, labels)
                terms[name] = self.aux_weight * auxiliary_terms["main"]
        return terms

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        return self.criterion.normalizers(labels)

    def set_epoch(self, epoch: int) -> None:
        self.criterion.set_epoch(epoch)

    def set_step(self, step: int) -> None:
        self.criterion.set_step(step)
