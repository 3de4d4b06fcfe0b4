"""When a run logs, saves and scores: a function of the step, but for checkpoints by the clock."""
from __future__ import annotations

import re
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field

from utils.cli import positive_int

TEST_STEPS = 4                                              # of --test_mode


def add_flags(parser: ArgumentParser) -> None:
    """Declares how long a run is and what it does on the way."""
    group = parser.add_argument_group("Intervals")
    group.add_argument("--max_epoch", type=positive_int, default=300, help="epochs to train")
    group.add_argument("--max_iters", type=positive_int, help="steps to train, instead of --max_epoch")
    group.add_argument("--eval_epoch", type=positive_int, default=10, help="first epoch that is scored, counted from 1")
    group.add_argument("--eval_every", type=positive_int, default=10, help="epochs between scores; the last is scored")
    group.add_argument("--eval_late", type=float, default=0.05,
                       help="share of the epochs, the last ones, that are scored each; 0 keeps to --eval_every")
    group.add_argument("--log_every", type=positive_int, default=20, help="steps between log lines")
    group.add_argument("--checkpoint_every", default="10m", help="steps (200) or minutes (10m) between checkpoints")
    group.add_argument("--keep", type=positive_int, default=2, help="checkpoints kept, besides last.pth and best.pth")


@dataclass
class Intervals:
    """What is due after a step; the fields are the flags of the same name.

    Raises:
        ValueError: a field has no meaning.
    """

    total_steps: int
    steps_per_epoch: int
    eval_epoch: int
    eval_every: int
    eval_late: float
    log_every: int
    checkpoint_every: str
    saved_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*m?", self.checkpoint_every):
            raise ValueError(f"--checkpoint_every {self.checkpoint_every}: give steps (200) or minutes (10m)")
        if not 0 <= self.eval_late <= 1:
            raise ValueError(f"--eval_late is a share of the epochs in [0, 1], not {self.eval_late}")

    def epoch(self, step: int) -> float:
        """Returns the epochs done after a step."""
        return step / self.steps_per_epoch

    def logs(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.total_steps

    def scores(self, step: int) -> bool:
        """Whether the step ends an epoch that is to be scored, or the run."""
        if step == 0 or step == self.total_steps:
            return step > 0
        epoch, rest = divmod(step, self.steps_per_epoch)
        if rest or epoch < self.eval_epoch:
            return False
        left = self.total_steps / self.steps_per_epoch - epoch
        late = left < self.eval_late * self.total_steps / self.steps_per_epoch
        return late or (epoch - self.eval_epoch) % self.eval_every == 0

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due by the number of steps."""
        by_steps = not self.checkpoint_every.endswith("m") and step % int(self.checkpoint_every) == 0
        return by_steps or step == self.total_steps

    def saves_by_now(self) -> bool:
        """Whether a checkpoint is due by this process's clock."""
        return (self.checkpoint_every.endswith("m")
                and time.monotonic() - self.saved_at > 60 * int(self.checkpoint_every[:-1]))

    def saved(self) -> None:
        self.saved_at = time.monotonic()
