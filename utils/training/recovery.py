"""Losses and gradients that are not finite: found, skipped or rewound; and a dry run that leaves no
trace.
"""
from __future__ import annotations

import logging
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from utils import distributed
from utils.cli import add_switch
from utils.training import checkpoint
from utils.training.progress import NotFinite
from utils.training.run_log import Window

log = logging.getLogger(__name__)

MAX_SKIPS = 20                  # consecutive skipped steps after which a run stops


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Step")
    group.add_argument("--on_nan", choices=("stop", "skip", "rewind"), default="stop",
                       help="at a loss that is not finite: stop; skip the step (checks every "
                            "gradient, which makes a GPU wait); or rewind to the last checkpoint "
                            "and leave the batch out")
    add_switch(group, "--recompute", default=False,
               help="recompute the backbone's features in the backward pass instead of keeping "
                    "them: less memory, about a third more time")
    add_switch(group, "--memory_estimate", default=False,
               help="run the first step once without effect and report the memory that it needs")


@dataclass(frozen=True)
class StepOptions:
    """How a step is taken; the fields are the flags of the same name."""

    on_nan: str = "stop"
    recompute: bool = False
    memory_estimate: bool = False

    @classmethod
    def from_args(cls, args: Namespace) -> StepOptions:
        return cls(on_nan=args.on_nan, recompute=args.recompute,
                   memory_estimate=args.memory_estimate)


class SkipBadSteps:
    """Skips the steps whose gradient is not finite (`--on_nan skip`).

    A forward pass that overflows also spoils the running statistics of batch norms, so the
    network's buffers are copied before each step and restored when the step is skipped.

    Args:
        on_nan: the flag of this name; with another value than "skip" nothing is copied or skipped.
    """

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer,
                 scaler: torch.amp.GradScaler, on_nan: str) -> None:
        self.net = net
        self.optimizer = optimizer
        self.scaler = scaler
        self.enabled = on_nan == "skip"
        self.consecutive = 0
        self.buffers: list[Tensor] = []

    def begin_step(self) -> None:
        """Copies the network's buffers."""
        if self.enabled:
            self.buffers = [buffer.clone() for buffer in self.net.buffers()]

    def should_skip(self, grad_norm: Tensor | None) -> bool:
        """Returns whether the step is to be skipped, given the norm of its gradient."""
        if not self.enabled or grad_norm is None or math.isfinite(grad_norm.item()):
            self.consecutive = 0
            return False
        return True

    def skip(self, step: int, images: Sequence[str], lr: float) -> None:
        """Discards the gradient and restores the buffers.

        Args:
            step: counted from 1.
            images, lr: names of the images of the step and its learning rate, for messages.

        Raises:
            NotFinite: too many consecutive steps were skipped.
        """
        self.consecutive += 1
        message = f"step {step} left out: its gradient is not finite (images {', '.join(images)})"
        if self.consecutive >= MAX_SKIPS:
            raise NotFinite(f"{message}, and so were the {MAX_SKIPS - 1} steps before: lower --lr "
                            f"(the rate is {lr:.3g}) or clip with --clip_grad 10", step)
        if self.scaler.is_enabled():
            message += "; the loss scale of fp16 is lowered, as often in the first steps"
        log.warning(message)
        restore_buffers(self.net, self.buffers)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.update()


@torch.no_grad()
def restore_buffers(net: nn.Module, buffers: list[Tensor]) -> None:
    """Copies the values of `buffers` into the network's buffers, in the order of `net.buffers()`.
    """
    for buffer, before in zip(net.buffers(), buffers, strict=True):
        buffer.copy_(before)


@contextmanager
def without_trace(net: nn.Module, device: torch.device) -> Iterator[None]:
    """Undoes what forward and backward passes change: buffers, gradients and random generators."""
    buffers = [buffer.clone() for buffer in net.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    restore_buffers(net, buffers)
    net.zero_grad(set_to_none=True)


def first_not_finite(steps: list[tuple[int, dict[str, float]]], net: nn.Module) -> int | None:
    """Returns the first step whose loss is not finite; the last one if only the weights are not;
    else None.

    Args:
        steps: number of each step, counted from 1, and the terms of its loss.
        net: the network after these steps.
    """
    for step, terms in steps:
        if not all(map(math.isfinite, terms.values())):
            return step
    norm = nn.utils.get_total_norm(parameter.detach() for parameter in net.parameters())
    return steps[-1][0] if steps and not norm.isfinite() else None


def finite_means(window: Window, net: nn.Module, lr: float, folder: Path) -> dict[str, float]:
    """Returns the mean of each term of the loss over a window's steps and all processes.

    Args:
        lr: the learning rate, for the message.
        folder: the run's folder.

    Raises:
        NotFinite: a loss, or a weight after these steps, is not finite, so they must be neither
            logged nor saved. The message names the step, its images, the rate and the last
            checkpoint.
    """
    steps = window.fetch()
    bad_step = first_not_finite(steps, net)
    if bad_step is None:
        names = steps[0][1] if steps else ()
        return {name: sum(terms[name] for _, terms in steps) / len(steps) for name in names}
    terms = dict(steps)[bad_step]
    images = [name for names in distributed.gather(window.names(bad_step)) for name in names]
    last = next(iter(checkpoint.saved(folder)), None)
    is_finite = all(map(math.isfinite, terms.values()))
    weights = " and the weights after it are not finite" if is_finite else ""
    advice = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
    raise NotFinite(f"the loss is {terms} in step {bad_step}{weights}, at learning rate "
                    f"{lr:.3g}, on images {', '.join(images)}: lower --lr, clip with "
                    f"--clip_grad 10, or try --precision fp32. {advice}", bad_step)
