"""When a run logs, saves and validates: a function of the step, except for checkpoints by the
clock.
"""
from __future__ import annotations

import re
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from utils.cli import positive_int

TEST_STEPS = 4                  # of --test_mode


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Length and intervals")
    group.add_argument("--max_epoch", type=positive_int, default=300, help="epochs to train")
    group.add_argument("--max_iters", type=positive_int,
                       help="steps to train, instead of --max_epoch (by default that counts)")
    group.add_argument("--eval_epoch", type=positive_int, default=10,
                       help="first epoch that is validated, from 1")
    group.add_argument("--eval_every", type=positive_int, default=10,
                       help="epochs between validations; the last epoch is always validated")
    group.add_argument("--eval_late", type=float, default=0.05,
                       help="validate every epoch in this last fraction of the run; 0 keeps to "
                            "--eval_every")
    group.add_argument("--log_every", type=positive_int, default=20, help="steps between log lines")
    group.add_argument("--checkpoint_every", default="10m",
                       help="steps (200) or minutes (10m) between checkpoints")
    group.add_argument("--keep", type=positive_int, default=2,
                       help="checkpoints kept, besides last.pth and best.pth")


@dataclass(frozen=True)
class IntervalOptions:
    """The fields are the flags of the same name.

    Raises:
        ValueError: a value is out of range.
    """

    max_epoch: int = 300
    max_iters: int | None = None
    eval_epoch: int = 10
    eval_every: int = 10
    eval_late: float = 0.05
    log_every: int = 20
    checkpoint_every: str = "10m"
    keep: int = 2

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*m?", self.checkpoint_every):
            raise ValueError(f"--checkpoint_every {self.checkpoint_every}: give steps (200) or "
                             "minutes (10m)")
        if not 0 <= self.eval_late <= 1:
            raise ValueError(f"--eval_late {self.eval_late}: give a fraction of the epochs in "
                             "[0, 1]")

    @classmethod
    def from_args(cls, args: Namespace) -> IntervalOptions:
        return cls(max_epoch=args.max_epoch, max_iters=args.max_iters, eval_epoch=args.eval_epoch,
                   eval_every=args.eval_every, eval_late=args.eval_late, log_every=args.log_every,
                   checkpoint_every=args.checkpoint_every, keep=args.keep)


class Intervals:
    """Tells what is due after a step, counted from 1.

    Args:
        steps_per_epoch: of this run.
        test_mode: the run ends after a few steps.
    """

    def __init__(self, options: IntervalOptions, steps_per_epoch: int,
                 test_mode: bool = False) -> None:
        self.options = options
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = options.max_iters or options.max_epoch * steps_per_epoch
        if test_mode:
            self.total_steps = min(self.total_steps, TEST_STEPS)
        self.saved_at = time.monotonic()

    def epoch(self, step: int) -> float:
        """Returns the number of epochs done after a step."""
        return step / self.steps_per_epoch

    def should_log(self, step: int) -> bool:
        return step % self.options.log_every == 0 or step == self.total_steps

    def should_validate(self, step: int) -> bool:
        """Returns whether the step ends the run, or an epoch that is to be validated."""
        if step == 0 or step == self.total_steps:
            return step > 0
        epoch, remainder = divmod(step, self.steps_per_epoch)
        if remainder or epoch < self.options.eval_epoch:
            return False
        epochs = self.total_steps / self.steps_per_epoch
        is_late = epochs - epoch < self.options.eval_late * epochs
        return is_late or (epoch - self.options.eval_epoch) % self.options.eval_every == 0

    def should_save(self, step: int) -> bool:
        """Returns whether a checkpoint is due by the number of steps."""
        if step == self.total_steps:
            return True
        every = self.options.checkpoint_every
        return not every.endswith("m") and step % int(every) == 0

    def should_request_save(self) -> bool:
        """Returns whether a checkpoint is due by this process's clock, which is then restarted.

        With several processes the checkpoint follows some steps after the request, and must not be
        requested again until then.
        """
        every = self.options.checkpoint_every
        if not every.endswith("m") or time.monotonic() - self.saved_at <= 60 * int(every[:-1]):
            return False
        self.restart_clock()
        return True

    def restart_clock(self) -> None:
        """Measures the minutes of `should_request_save` from now on."""
        self.saved_at = time.monotonic()
