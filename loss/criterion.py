"""The base class of all criteria."""
from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Criterion(nn.Module, ABC):
    """Maps (outputs, labels) to a dict of weighted scalar terms, which train.py adds and logs.

    Called with outputs, a dict of logits (N, K, h, w) that always has `main`, and labels (N, H, W)
    int64 of train ids or the ignored label.
    """

    @abstractmethod
    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Returns the terms by name."""

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns the divisor of each term's mean: the number, or total weight, of what is summed.

        A term is a mean s / n. Over micro-batches and processes i, the mean of one large batch is
        sum(s_i) / sum(n_i) = sum(n_i / sum(n) * term_i), so train.py weights each term by its n_i.

        Each n is a float32 scalar on the labels' device. It depends on the labels alone, and
        computing it does not synchronize with that device. It is None for a term that is not such a
        mean, for example if pixels are selected by the logits of the forward pass. A term
        without an entry, such as that of an auxiliary output, has the divisor of `main`.
        """
        return {"main": None}

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, counted from 0, for criteria that depend on it."""

    def set_step(self, step: int) -> None:
        """Sets the number of steps done, for criteria that depend on it."""
