"""A slow or broken part ends at its limit and takes nothing away."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from tools.benchmark.machine.worker import Deadline, Worker

Row = dict[str, Any]


def fine(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"plan": plan, "process": os.getpid()}
    yield {"second": True}


def slow(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid()}
    time.sleep(600)


def crashing(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid()}
    os._exit(7)


def failing(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid()}
    raise ValueError("the first line\nand a second one")


PARTS = {"fine": fine, "slow": slow, "crashing": crashing, "failing": failing}
# seconds; enough for a new process to start on a busy machine
LIMIT = 60


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_was_measured_before_a_part_fails_remains_and_the_next_one_runs() -> None:
    worker = Worker(PARTS, plan=5)  # type: ignore[arg-type]
    try:
        first, second = worker.measure("fine", LIMIT)
        assert first["plan"] == 5 and first["process"] != os.getpid() and second == {"second": True}
        # the same process measures the next part, and is stopped at the limit
        start = time.monotonic()
        begun, error = worker.measure("slow", 2)
        assert begun == {"process": first["process"]} and error == {"error": "stopped after 2 s"}
        assert 1.9 < time.monotonic() - start < LIMIT and not is_alive(first["process"])
        begun, error = worker.measure("crashing", LIMIT)
        assert error == {"error": "the process ended (exit code 7)"}
        begun, error = worker.measure("failing", LIMIT)
        assert error == {"error": "ValueError: the first line"}
        assert not is_alive(begun["process"])
    finally:
        worker.close()


def test_nothing_begins_that_would_not_end_in_time() -> None:
    deadline = Deadline(1000)
    assert deadline.allows("compiled")
    with deadline.timed("compiled"):
        pass
    deadline.longest["compiled"] = 2000
    assert not deadline.allows("compiled") and deadline.allows("eager")
    assert not Deadline(0).allows("eager")
