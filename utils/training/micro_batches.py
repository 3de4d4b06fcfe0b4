"""One step in several forward passes: micro-batches, and the weight of each in the loss of the
step.
"""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from utils import distributed
from utils.batches import split

log = logging.getLogger(__name__)

Batch = dict[str, Any]
# weight of each term of the loss; a term without an entry has the weight of "main"
Weights = dict[str, Tensor | float]


class MicroBatches:
    """Splits a batch into micro-batches, and weights their losses so that they add up to the loss
    of the step.

    With `loss_norm` "global", a term is divided by the number of labeled pixels n of the whole
    step, over all micro-batches and ranks. The criterion returns the mean over one micro-batch, and
    DDP averages gradients over `world_size` ranks, so the weight of a micro-batch with n pixels is

        w = n * world_size / sum of n over micro-batches and ranks.

    A term without a pixel count (the criterion's `normalizers` gives None, as OHEM does, which
    selects pixels on each rank, as published) has w = 1 / accumulate, as every term has with
    `loss_norm` "rank".

    Args:
        prepare: micro-batch of the loader -> the same on the device, normalized.
        accumulate: micro-batches of a step.
        loss_norm: "global" or "rank".
    """

    def __init__(self, criterion: Any, prepare: Callable[[Batch], Batch], *, accumulate: int = 1,
                 loss_norm: str = "global") -> None:
        self.criterion = criterion
        self.prepare = prepare
        self.accumulate = accumulate
        self.loss_norm = loss_norm
        self.has_warned = False

    def __call__(self, batch: Batch) -> Iterator[tuple[Batch, Weights]]:
        """Yields each micro-batch of a batch with the weights of its terms."""
        micro_batches = [self.prepare(part) for part in split(batch, self.accumulate)]
        weights = self.weights([micro_batch["label"] for micro_batch in micro_batches])
        yield from zip(micro_batches, weights, strict=True)

    def weights(self, labels: list[Tensor]) -> list[Weights]:
        """Returns the weights of each micro-batch, given its labels (N, H, W).

        They stay on the device, so that the step does not wait for it. Float32 counts are exact up
        to 2**24 pixels.
        """
        even = 1 / self.accumulate
        if self.loss_norm == "rank" or self.accumulate * distributed.world_size() == 1:
            return [{"main": even}] * self.accumulate
        counts = [self.criterion.normalizers(label) for label in labels]
        counted = [name for name, count in counts[0].items() if count is not None]
        self._warn_once(sorted(counts[0].keys() - counted))
        weights: list[Weights] = [dict.fromkeys(count, even) for count in counts]
        if not counted:
            return weights
        # (micro-batches, terms)
        pixels = torch.stack([torch.stack([count[name] for name in counted]) for count in counts])
        in_double = pixels.double() if pixels.device.type == "cpu" else pixels
        total = distributed.all_reduce_sum_(in_double.sum(0))
        # a term without a single labeled pixel is 0 whatever its weight is
        total = torch.where(total > 0, total, 1)
        factors = pixels * (distributed.world_size() / total).to(pixels.dtype)
        for weight, row in zip(weights, factors, strict=True):
            weight.update(zip(counted, row, strict=True))
        return weights

    def _warn_once(self, names: list[str]) -> None:
        if names and not self.has_warned:
            log.info("  --loss_norm global does not reach %s: averaged over micro-batches and "
                     "processes", " and ".join(names))
        self.has_warned = True


def weighted(terms: dict[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """Multiplies each term of a loss by its weight."""
    return {name: term * weights.get(name, weights["main"]) for name, term in terms.items()}


def sum_of(terms: dict[str, Tensor]) -> Tensor:
    """Returns the sum of the terms of a loss, a scalar."""
    return torch.stack(list(terms.values())).sum()


def add_terms(total: dict[str, Tensor], terms: dict[str, Tensor]) -> None:
    """Adds the terms of one micro-batch, without their graph, to those of the step."""
    for name, term in terms.items():
        total[name] = total[name] + term.detach() if name in total else term.detach()


def gradient_sync(model: nn.Module, enabled: bool) -> AbstractContextManager[object]:
    """Returns the context of a micro-batch: DDP averages gradients over the ranks only where
    `enabled`.

    Only the last micro-batch of a step needs it: gradients add up on each rank before.
    """
    return nullcontext() if enabled else distributed.without_sync(model)


def clip_gradients(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, net: nn.Module,
                   max_norm: float) -> Tensor:
    """Clips the norm of the whole gradient, after undoing the loss scaling of fp16.

    Args:
        max_norm: 0 does not clip.

    Returns:
        The norm before clipping, a scalar on the device.
    """
    scaler.unscale_(optimizer)
    return nn.utils.clip_grad_norm_(net.parameters(), max_norm or math.inf)
