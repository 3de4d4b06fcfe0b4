"""Signals as something that all processes look for between steps, and agree on, so that they can save first."""
from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

import torch
from torch import Tensor

from utils import distributed

T = TypeVar("T")
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """A signal asked the run to stop. `exit_code` is the shell's: 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interrupts:
    """While entered, remembers the first SIGINT, SIGTERM or SIGUSR1 for `check`; a second SIGINT stops at once.

    Args:
        agreed: several processes stop at the same check: each posts what this process knows and reads what all posted
            at the one before, so that none waits for another in between. All must check equally often.
    """

    def __init__(self, agreed: bool = False) -> None:
        self.agreed = agreed and distributed.world_size() > 1
        self.number = 0
        self.before: dict[int, object] = {}
        self.posted: Callable[[], Tensor] | None = None

    def __enter__(self) -> Interrupts:
        self.before = {number: signal.signal(number, self._remember) for number in WATCHED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.posted and (kind is None or issubclass(kind, Interrupted)):
            self.posted()                                   # no process leaves while another still waits for its word

    def check(self) -> None:
        """Raises Interrupted when a signal has come, here or, where they agree, at another process."""
        self.ask(False)

    def ask(self, wish: bool) -> bool:
        """Checks, and returns whether a process wished for something (a save); where they agree, at the check before.

        Raises:
            Interrupted: as `check`.
        """
        number, wished = self.number, wish
        if self.agreed:
            before, self.posted = self.posted, distributed.largest_later(torch.tensor([self.number, int(wish)]))
            number, wished = before().tolist() if before else (0, False)
        if number:
            raise Interrupted(number)
        return bool(wished)

    def during(self, items: Iterable[T], rounds: int) -> Iterator[T]:
        """Yields the items and checks after each; `rounds` checks in all where another process has more items."""
        done = 0
        for item in items:
            yield item
            self.check()
            done += 1
        for _ in range(rounds - done):
            self.check()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
