"""An exponential moving average of a network's weights."""
from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Ema:
    """Keeps `net`, an averaged copy of a network, in evaluation mode.

    After step t, counted from 0, with d = min(decay, (1 + t) / (10 + t)):

        average = d * average + (1 - d) * weights.

    The warm-up of d lets the random initial weights fade quickly. Running statistics of batch
    norms are averaged in the same way.

    Args:
        decay: in (0, 1).

    Raises:
        ValueError: the decay is out of range.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"--ema_decay {decay}: give a number in (0, 1), or 0 for no average")
        self.decay = decay
        self.net = deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Moves the average towards the network's weights after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(self.net.state_dict().values(), net.state_dict().values(), strict=True))
        averaged = [(average, value) for average, value in pairs if average.is_floating_point()]
        averages = [average for average, _ in averaged]
        torch._foreach_lerp_(averages, [value for _, value in averaged], 1 - decay)
        for average, value in pairs:
            if not average.is_floating_point():
                average.copy_(value)


def build(net: nn.Module, decay: float) -> Ema | None:
    """Returns the average of a network, or None for a decay of 0."""
    return Ema(net, decay) if decay else None
