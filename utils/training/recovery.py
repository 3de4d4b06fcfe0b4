"""One step of training: forward under precision, criterion, backward, update; alone or with other processes."""
from __future__ import annotations

import logging
import math
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils import distributed, precision
from utils.batches import split
from utils.cli import add_switch
from utils.training import checkpoint
from utils.training.ema import Ema
from utils.training.run_log import Window

log = logging.getLogger(__name__)

Batch = dict[str, Any]
Clock = Callable[[str], AbstractContextManager[object]]     # times what is done inside, by name
Shares = dict[str, Tensor | float]                          # of terms; one that is not named has `main`'s
SKIPS = 20                                                  # steps left out in a row after which a run is hopeless


def add_flags(parser: ArgumentParser) -> None:
    """Declares how a step is taken."""
    group = parser.add_argument_group("Step")
    group.add_argument("--loss_norm", choices=("global", "rank"), default="global",
                       help="a mean over the pixels of the whole step, or of each process's forward pass alone")
    group.add_argument("--on_nan", choices=("stop", "skip", "rewind"), default="stop",
                       help="at a loss that is not finite: stop; skip the step (looks at every gradient, which makes a "
                            "GPU wait); or rewind to the last checkpoint and leave the batch out")
    add_switch(group, "--recompute", default=False,
               help="compute the backbone's features again in the backward pass instead of keeping them: less memory, "
                    "about a third more time")
    add_switch(group, "--memory_estimate", default=False, help="rehearse the first step and say what memory it needs")


class NotFinite(ValueError):
    """A loss or a gradient is not a finite number. `step` is the one that gave it, counted from 1."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Stepper:
    """Takes steps of an optimizer; what it changes is in `state`, the network and the averaged weights.

    Args:
        model: the network as it is trained (wrapped, compiled).
        net: the network itself.
        prepare: a part of a batch -> the same on the device, normalized.
        accumulate: parts that a batch is cut into; their gradients add up.
        loss_norm: "global" divides each term by the number of pixels of the whole step, over all parts and processes,
            where the criterion says what it divides by (`denominators`); OHEM selects per process, as published, and
            does not. "rank" leaves the means as they are.
    """

    def __init__(self, model: nn.Module, net: nn.Module, criterion: Any, optimizer: torch.optim.Optimizer,
                 schedule: torch.optim.lr_scheduler.LRScheduler, prepare: Callable[[Batch], Batch], *,
                 device: torch.device, precision: str, accumulate: int = 1, loss_norm: str = "global",
                 clip_grad: float = 0.0, on_nan: str = "stop", ema: Ema | None = None) -> None:
        self.model, self.net, self.criterion, self.optimizer, self.schedule = model, net, criterion, optimizer, schedule
        self.prepare, self.device, self.precision, self.ema = prepare, device, precision, ema
        self.accumulate, self.loss_norm, self.clip_grad, self.on_nan = accumulate, loss_norm, clip_grad, on_nan
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.clock: Clock = lambda name: nullcontext()
        self.skipped_in_a_row = 0
        self.told = False               # what `loss_norm` does not reach
        self.rate = 0.0                 # of the last step
        self.norm: Tensor | None = None             # of the last step's gradient, where somebody wanted to know it

    def step(self, batch: Batch, number: int, want_norm: bool = False) -> dict[str, Tensor] | None:
        """Takes one step; returns the weighted terms of the loss, this process's share of the mean, or None when the
        step was left out.

        Args:
            number: steps done before.
            want_norm: sets `norm`, the gradient's.

        Raises:
            NotFinite: `on_nan` is "skip" and many steps in a row had to be.
        """
        self.model.train()
        with self.clock("prepare"):
            parts = [self.prepare(part) for part in split(batch, self.accumulate)]
            shares = self._shares([part["label"] for part in parts])
        kept = [buffer.clone() for buffer in self.net.buffers()] if self.on_nan == "skip" else []
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for i, (part, own) in enumerate(zip(parts, shares, strict=True)):
            last = i == len(parts) - 1
            with nullcontext() if last else distributed.without_sync(self.model):
                for name, term in self._pass(part, own).items():
                    terms[name] = terms[name] + term if name in terms else term
        with self.clock("update"):
            return terms if self._update(batch, number, want_norm, kept) else None

    def dry_run(self, batch: Batch) -> None:
        """Goes forward and backward through one part of a batch, and leaves no trace of it."""
        self.model.train()
        kept = [buffer.clone() for buffer in self.net.buffers()]
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            self._pass(self.prepare(split(batch, self.accumulate)[0]), {"main": 1.0})
        self._put_back(kept)

    def skip_step(self) -> None:
        """Counts a step that is not taken."""
        self.schedule.step()

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in ("optimizer", "schedule", "scaler")}

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("optimizer", "schedule", "scaler"):
            getattr(self, name).load_state_dict(state[name])

    def load_momentum(self, state: dict[str, Any]) -> None:
        """Takes what a checkpoint's optimizer has gathered of each weight (momentum), but not its rates.

        Raises:
            ValueError: the checkpoint holds no optimizer, or one of another kind or of other weights.
        """
        own, theirs = self.optimizer.state_dict(), state.get("optimizer")
        if theirs is None:
            raise ValueError("--restore_optimizer: the file of --snapshot holds no optimizer. Leave the flag out.")
        if [(len(group["params"]), set(group)) for group in own["param_groups"]] != [
                (len(group["params"]), set(group)) for group in theirs["param_groups"]]:
            raise ValueError("--restore_optimizer: the optimizer of --snapshot is of another kind, or has other "
                             "weights or groups of them. Leave the flag out, or give the flags of its run.")
        self.optimizer.load_state_dict({"state": theirs["state"], "param_groups": own["param_groups"]})

    def _pass(self, part: Batch, shares: Shares) -> dict[str, Tensor]:
        """Forward and backward of a part; returns its terms, each times its share."""
        with self.clock("forward"), precision.autocast(self.device, self.precision):
            outputs = self.model(part["image"], upsample=False)
        with self.clock("loss"):
            terms = {name: term * shares.get(name, shares["main"])
                     for name, term in self.criterion(outputs, part["label"]).items()}
        with self.clock("backward"):
            self.scaler.scale(torch.stack(list(terms.values())).sum()).backward()
        return {name: term.detach() for name, term in terms.items()}

    def _shares(self, labels: list[Tensor]) -> list[Shares]:
        """Returns each part's factor of each term: 1 / parts, times what the part divides by over the mean part's.

        DDP averages the processes' gradients, so a process's factor is relative to the mean process's pixels too.
        """
        even = 1 / self.accumulate
        if self.loss_norm == "rank" or self.accumulate * distributed.world_size() == 1:
            return [{"main": even}] * self.accumulate
        counts = [self.criterion.normalizers(each) for each in labels]
        known = [name for name, count in counts[0].items() if count is not None]
        self._tell(sorted(counts[0].keys() - known))
        shares: list[Shares] = [dict.fromkeys(each, even) for each in counts]
        if known:
            own = torch.stack([torch.stack([each[name] for name in known]) for each in counts])     # (parts, terms)
            # float32 is exact up to 2**24 pixels a part, to 1e-7 beyond
            total = distributed.all_reduce_sum_(own.double().sum(0) if own.device.type == "cpu" else own.sum(0))
            factors = own * (distributed.world_size() / torch.where(total > 0, total, 1)).to(own.dtype)
            for each, row in zip(shares, factors, strict=True):
                each.update(zip(known, row, strict=True))
        return shares

    def _tell(self, apart: list[str]) -> None:
        """Says once which terms no process can average over the whole step."""
        if apart and not self.told:
            log.info("  --loss_norm global does not reach %s: averaged over passes and processes", " and ".join(apart))
        self.told = True

    def _update(self, batch: Batch, number: int, want_norm: bool, buffers: list[Tensor]) -> bool:
        """Moves the weights, unless the gradient is not finite and such steps are skipped; returns whether it did."""
        skips = self.on_nan == "skip" and not self.scaler.is_enabled()          # loss scaling skips by itself
        self.norm = None
        if self.clip_grad or want_norm or skips:
            self.scaler.unscale_(self.optimizer)
            self.norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_grad or math.inf)
        self.rate = self.optimizer.param_groups[0]["lr"]    # what this step uses
        if skips and self.norm is not None and not math.isfinite(self.norm.item()):
            self._skip(batch, number, buffers)
            return False
        self.skipped_in_a_row = 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.ema:
            self.ema.update(self.net, number)
        return True

    def _skip(self, batch: Batch, number: int, buffers: list[Tensor]) -> None:
        self.skipped_in_a_row += 1
        said = f"step {number + 1} left out: its gradient is not finite (images {', '.join(batch['name'])})"
        if self.skipped_in_a_row >= SKIPS:
            raise NotFinite(f"{said}, and so were the {SKIPS - 1} steps before: lower --lr (the rate is "
                            f"{self.rate:.3g}) or clip with --clip_grad 10", number + 1)
        log.warning(said)
        self._put_back(buffers)                             # an overflow spoils the batch statistics too
        self.schedule.step()

    @torch.no_grad()
    def _put_back(self, buffers: list[Tensor]) -> None:
        """Forgets the gradient, and gives the network its batch statistics of before."""
        for buffer, before in zip(self.net.buffers(), buffers, strict=True):
            buffer.copy_(before)
        self.optimizer.zero_grad(set_to_none=True)


def first_not_finite(steps: list[tuple[int, dict[str, float]]], net: nn.Module) -> int | None:
    """Returns the first step, of those given with their terms, after which the numbers are nonsense; None if none is.

    Weights that are not finite, though every loss was, are the last step's doing.
    """
    for step, terms in steps:
        if not all(map(math.isfinite, terms.values())):
            return step
    norms = torch._foreach_norm([parameter.detach() for parameter in net.parameters()])
    return steps[-1][0] if steps and not torch.stack(norms).sum().isfinite() else None


def finite_means(window: Window, net: nn.Module, rate: float, folder: Path) -> dict[str, float]:
    """Returns the means of a window's terms over all processes.

    Raises:
        NotFinite: a loss, or the weights that the steps left, are not finite, so that they must be neither logged nor
            saved. The message names the step, its images, the rate and the run's last checkpoint.
    """
    steps = window.fetch()
    bad = first_not_finite(steps, net)
    if bad is None:
        return {name: sum(terms[name] for _, terms in steps) / len(steps) for name in (steps[0][1] if steps else ())}
    terms = dict(steps)[bad]
    images = [name for each in distributed.gather(window.names(bad)) for name in each]
    last = next(iter(checkpoint.saved(folder)), None)
    spoilt = " and leaves weights that are not finite" if all(map(math.isfinite, terms.values())) else ""
    raise NotFinite(
        f"the loss is {terms} in step {bad}{spoilt}, at learning rate {rate:.3g}, on images {', '.join(images)}: "
        "lower --lr, clip with --clip_grad 10, or try --precision fp32. "
        + (f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."), bad)
