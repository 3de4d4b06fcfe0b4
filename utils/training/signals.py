"""Signals as something that all processes look for between steps, and agree on, so that they can save first."""
from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TypeVar

import torch
from torch import Tensor

from utils import distributed

T = TypeVar("T")
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
MAIN_ONLY = (signal.SIGINT, signal.SIGUSR1)     # a terminal and a scheduler send these to every process of a job


@contextmanager
def held() -> Iterator[None]:
    """Keeps SIGINT and SIGUSR1 waiting, also for the processes that are started meanwhile: until they `ignore` them,
    they would die of them. SIGTERM goes through, since Python ends such processes with it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, MAIN_ONLY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Leaves SIGINT and SIGUSR1 to the process that started this one, and that ends it."""
    for number in MAIN_ONLY:
        signal.signal(number, signal.SIG_IGN)


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
