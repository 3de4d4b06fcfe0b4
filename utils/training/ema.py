"""An exponential moving average of a network's weights."""
from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Ema:
    """Keeps `net`, an averaged copy in evaluation mode of the network it was made from.

    The decay warms up as min(decay, (1 + step) / (10 + step)), so that random first weights do not linger. Batch
    statistics are averaged alike.

    Args:
        decay: share of the old average that a step keeps, in (0, 1).
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"--ema_decay is a share in (0, 1), not {decay}")
        self.decay = decay
        self.net = deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Moves the average towards the network's weights after the given optimizer step, counted from 0."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(self.net.state_dict().values(), net.state_dict().values(), strict=True))
        floats = [(average, value) for average, value in pairs if average.is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floats], [value for _, value in floats], share)
        for average, value in pairs:
            if not average.is_floating_point():
                average.copy_(value)
