"""What every criterion here is."""
from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Criterion(nn.Module, ABC):
    """The contract of a criterion: (outputs, labels) -> dict of weighted scalar terms, which the loop sums and logs.

    Called with outputs (dict of logits (N, K, h, w), `main` always) and labels (N, H, W) int64.
    """

    @abstractmethod
    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Returns the terms by name."""

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns what each term's mean divides by for these labels: the number, or total weight, of what is summed.

        It is a float32 scalar on the labels' device, from the labels alone and without waiting for that device. With it
        the terms of several processes or accumulated batches add up to those of one big batch. None where a term is
        no such mean, as when pixels are selected by the logits of the process's own batch. A term that is not named,
        such as an auxiliary's, divides as `main` does.
        """
        return {"main": None}

    def set_epoch(self, epoch: int) -> None:
        """Tells the epoch, counted from 0, to what depends on it."""
