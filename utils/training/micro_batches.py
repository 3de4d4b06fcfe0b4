"""A step in several forward passes: its micro-batches and the weight of each in the loss."""
from __future__ import annotations

import logging
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
    """Splits a batch into micro-batches whose weighted losses add up to the loss of the step.

    The criterion returns a mean for each micro-batch m of each rank r: s_rm / n_rm, with the sum s
    over its pixels and the divisor n (`Criterion.normalizers`: the number of labeled pixels, or
    the sum of their class weights). DDP averages gradients over the ranks. With `loss_norm`
    "global" the weight of a micro-batch is

        w_rm = world_size * n_rm / N,    N = sum of n over all micro-batches and ranks,

    so that the loss of the step, 1 / world_size * sum of w_rm s_rm / n_rm = sum of s_rm / N, is
    the mean over all pixels of the step.

    A term without a divisor has w = 1 / accumulate, and so has every term with `loss_norm` "rank".
    OHEM is such a term: it selects pixels in each forward pass, as published, so that each pass
    counts alike.

    Args:
        prepare: a slice of the loader's batch -> the same on the device, normalized.
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

        They stay on the device, so that the step does not wait for it. On a GPU the divisors are
        added in float32, which is exact up to 2**24 pixels.
        """
        even = 1 / self.accumulate
        if self.loss_norm == "rank" or self.accumulate * distributed.world_size() == 1:
            return [{"main": even}] * self.accumulate
        divisors = [self.criterion.normalizers(label) for label in labels]
        names = [name for name, divisor in divisors[0].items() if divisor is not None]
        self._warn_once(sorted(divisors[0].keys() - names))
        weights: list[Weights] = [dict.fromkeys(terms, even) for terms in divisors]
        if not names:
            return weights
        # (micro-batches, terms)
        n = torch.stack([torch.stack([terms[name] for name in names]) for terms in divisors])
        in_double = n.double() if n.device.type == "cpu" else n
        total = distributed.all_reduce_sum_(in_double.sum(0))
        # a term without a single labeled pixel is 0 whatever its weight is
        total = torch.where(total > 0, total, 1)
        factors = n * (distributed.world_size() / total).to(n.dtype)
        for weight, row in zip(weights, factors, strict=True):
            weight.update(zip(names, row, strict=True))
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
    parameters = list(net.parameters())
    norm = nn.utils.get_total_norm(weights.grad for weights in parameters
                                   if weights.grad is not None)
    if max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
