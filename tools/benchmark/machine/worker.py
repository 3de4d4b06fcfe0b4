"""A process that measures, and is stopped when a part takes longer than its limit."""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import torch

from utils.errors import in_a_line
from utils.precision import default_device

if TYPE_CHECKING:
    from tools.benchmark.machine.plan import Plan

# the part of a limit after which no measurement begins that would not end in time
SOFT = 0.85
# seconds in which a new process has to be ready, and in which a stopped one may end by itself
START, END = 60, 3

# the first message of a process
READY = ("ready", None)

Row = dict[str, Any]


class Deadline:
    """When a part ends: it begins no measurement that is likely to last longer.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.longest: dict[str, float] = {}

    def allows(self, kind: str) -> bool:
        """Returns whether a measurement of a kind ends in time if it takes as long as the longest
        one so far.
        """
        return time.monotonic() + self.longest.get(kind, 0.0) < self.end

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Notes how long a measurement of a kind takes."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self.longest[kind] = max(seconds, self.longest.get(kind, 0.0))


# (plan, deadline) -> rows
Part = Callable[[Any, Deadline], Iterator[Row]]


class Worker:
    """Runs parts in a process of its own, one after the other.

    A part that hangs or crashes ends with its process; the next part gets a new one. What a part
    measured before remains.

    Args:
        parts: name -> generator of measurements; functions of modules, which a new process imports.
    """

    def __init__(self, parts: Mapping[str, Part], plan: Plan) -> None:
        self.parts = dict(parts)
        self.plan = plan
        self.process: Any = None
        self.connection: Any = None

    def measure(self, part: str, seconds: float) -> Iterator[Row]:
        """Yields the measurements of a part as they come.

        The last row has an "error" if the part was stopped, or raised one.

        Args:
            seconds: the limit, from when the process is ready.
        """
        try:
            if self.process is None and not self._start():
                yield {"error": f"the process did not start within {START} s"}
                self.close()
                return
            end = time.monotonic() + seconds
            self.connection.send((part, SOFT * seconds))
            while self.connection.poll(max(0.0, end - time.monotonic())):
                kind, value = self.connection.recv()
                if kind == "end":
                    return
                yield value
                if kind == "error":
                    self.close()
                    return
            yield {"error": f"stopped after {seconds:g} s"}
        except (EOFError, ConnectionError):
            self.process.join(5)
            yield {"error": f"the process ended (exit code {self.process.exitcode})"}
        self.close()

    def _start(self) -> bool:
        """Returns whether the new process is ready in time. Raises EOFError if it ended."""
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, self.parts, self.plan))
        self.process.start()
        # the pipe then ends with the process
        other.close()
        return bool(self.connection.poll(START)) and self.connection.recv() == READY

    def close(self) -> None:
        """Ends the process, and those that it started."""
        if self.process is None:
            return
        # it ends its loaders and removes its temporary folders, unless it hangs
        self.process.terminate()
        self.process.join(END)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (AttributeError, OSError):
            # Windows has no groups of processes, and a new process may not have its own yet
            self.process.kill()
        self.process.join()
        self.connection.close()
        self.process = self.connection = None


def serve(connection: Connection, parts: Mapping[str, Part], plan: Plan) -> None:
    """Measures the parts that are asked for, until the other side is closed."""
    with suppress(AttributeError, OSError):
        # loading processes and compilers then belong to the group of this one
        os.setpgid(0, 0)
    # loaders start their processes as those of a training do, not as this one was started
    multiprocessing.set_start_method(None, force=True)
    # an exception, after which files and processes are cleaned up
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with suppress(Exception):
        # a GPU takes seconds for its first tensor; a part that needs it reports what fails here
        torch.zeros(1, device=default_device())
    connection.send(READY)
    while True:
        try:
            part, seconds = connection.recv()
        except EOFError:
            return
        try:
            for row in parts[part](plan, Deadline(seconds)):
                connection.send(("row", row))
        except Exception as error:
            connection.send(("error", {"error": in_a_line(error, whole=False)}))
            return
        connection.send(("end", None))
