"""Signals that stop a run: noticed between steps, by all processes at the same one."""
from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import TypeVar

import torch
from torch import Tensor

from utils import distributed

T = TypeVar("T")
# in which a second SIGINT under torchrun is the first one, which torchrun passes on
SAME_SIGNAL_SECONDS = 5.0


def _available(*names: str) -> tuple[signal.Signals, ...]:
    """Returns the signals that this operating system has; Windows lacks SIGHUP and SIGUSR1."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


WATCHED = _available("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
# a terminal and a scheduler send these to every process of a job, also to the loader's workers
SENT_TO_ALL = _available("SIGINT", "SIGHUP", "SIGUSR1")
# between two checks of a worker whether the main process has ended
PARENT_CHECK_SECONDS = 1.0


@contextmanager
def block_signals(start_method: str) -> Iterator[None]:
    """Delays the signals of a job while worker processes start, which inherit the block.

    So they are not killed before they call `leave_signals_to_parent`; the server of "forkserver"
    never calls it and keeps the block. Python and torch end workers with SIGTERM: it is delayed
    only if the main process handles it, and if the operating system tells a worker who sent it
    (macOS does not).

    Args:
        start_method: how Python starts the workers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    blocked = set(SENT_TO_ALL)
    if hasattr(signal, "sigtimedwait") and signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        blocked.add(signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        if start_method != "fork":
            # Python unblocks SIGINT and SIGTERM when it starts this process of its own
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Makes a worker process outlive the signals of a job: the main process ends the worker.

    If SIGTERM is blocked, a thread obeys it only when the main process sent it.
    """
    for number in SENT_TO_ALL:
        signal.signal(number, signal.SIG_IGN)
    if (hasattr(signal, "pthread_sigmask")
            and signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())):
        threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this process when the main process asks for it by SIGTERM, or has ended."""
    main_process = multiprocessing.parent_process()
    assert main_process is not None, "a worker has a parent"
    # `is_alive` reads a pipe: with "fork", the other workers keep it open. With "forkserver", the
    # parent is Python's server, which lives as long as a worker.
    parent = os.getppid()
    while os.getppid() == parent and main_process.is_alive():
        received = signal.sigtimedwait((signal.SIGTERM,), PARENT_CHECK_SECONDS)
        if received is not None and received.si_pid == main_process.pid:
            break
    # without clean-up, as by SIGTERM
    os._exit(0)


class Interrupted(Exception):
    """A signal asked the run to stop. `exit_code` is the shell's: 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interrupts:
    """While entered, remembers the first signal for `check`; a second SIGINT stops at once.

    A terminal sends Ctrl-C to torchrun and its processes, and torchrun passes it on: only a SIGINT
    some seconds later is a second one.

    A closed terminal sends SIGHUP, which `nohup` makes a process ignore: it stays ignored.

    Args:
        agreed: all processes stop at the same check. Each posts its own signal and reads what all
            posted at the check before, so that no process waits for another in between. Every
            process must check equally often.
    """

    def __init__(self, agreed: bool = False) -> None:
        self.agreed = agreed and distributed.world_size() > 1
        self.number = 0
        self.received = 0.0
        self.handlers_before: dict[int, object] = {}
        self.posted: Callable[[], Tensor] | None = None

    def __enter__(self) -> Interrupts:
        for number in WATCHED:
            is_nohup = signal.Signals(number).name == "SIGHUP"
            if not (is_nohup and signal.getsignal(number) == signal.SIG_IGN):
                self.handlers_before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self.handlers_before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.posted and (kind is None or issubclass(kind, Interrupted)):
            # another process may still wait for what this one posted
            self.posted()

    def check(self) -> None:
        """Raises Interrupted if this process, or with `agreed` any process, received a signal."""
        self.synchronize(False)

    def synchronize(self, request: bool) -> bool:
        """Checks for signals, and returns whether any process has made a request, such as a save.

        With `agreed`, the answer is about the requests of the check before.

        Raises:
            Interrupted: as `check`.
        """
        number, is_requested = self.number, request
        if self.agreed:
            posted_before = self.posted
            self.posted = distributed.max_async(torch.tensor([self.number, int(request)]))
            number, is_requested = posted_before().tolist() if posted_before else (0, False)
        if number:
            raise Interrupted(number)
        return bool(is_requested)

    def during(self, items: Iterable[T], checks: int) -> Iterator[T]:
        """Yields the items and checks after each.

        Args:
            checks: checks in all, where another process has more items.
        """
        done = 0
        for item in items:
            yield item
            self.check()
            done += 1
        for _ in range(checks - done):
            self.check()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT and not self._is_passed_on():
            raise KeyboardInterrupt
        if not self.number:
            self.received = time.monotonic()
        self.number = number

    def _is_passed_on(self) -> bool:
        elapsed = time.monotonic() - self.received
        return "TORCHELASTIC_RUN_ID" in os.environ and elapsed < SAME_SIGNAL_SECONDS
