"""Top-1 and top-5 accuracy."""
from __future__ import annotations

import torch
from torch import Tensor

from utils import distributed

TOP = 5


class Accuracy:
    """Counts images, and those whose class is among the 1 and the 5 largest logits.

    With fewer than five classes, every image counts for top-5.
    """

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(3, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits (N, K) and labels (N,) int64."""
        largest = logits.topk(min(TOP, logits.shape[1])).indices
        hits = largest == labels[:, None]
        self.counts += torch.stack([labels.new_tensor(len(labels)), hits[:, 0].sum(), hits.sum()])

    def all_reduce(self) -> None:
        """Adds the counts of all processes."""
        distributed.all_reduce_sum_(self.counts)

    @property
    def images(self) -> int:
        return int(self.counts[0])

    @property
    def top1(self) -> float:
        """In [0, 1]."""
        return float(self.counts[1] / self.counts[0])

    @property
    def top5(self) -> float:
        """In [0, 1]."""
        return float(self.counts[2] / self.counts[0])
