"""A slow or broken part ends at its limit and takes nothing away."""
from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.benchmark.machine import worker as worker_module
from tools.benchmark.machine.worker import Deadline, Worker

Row = dict[str, Any]


def fine(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"plan": plan, "process": os.getpid()}
    yield {"second": True}


def slow(plan: int, deadline: Deadline) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"process": os.getpid(), "folder": folder}
        time.sleep(600)


def hanging(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid(), "start_method": multiprocessing.get_start_method()}
    while True:
        try:
            time.sleep(600)
        except SystemExit:
            continue


def crashing(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid()}
    os._exit(7)


def failing(plan: int, deadline: Deadline) -> Iterator[Row]:
    yield {"process": os.getpid()}
    raise ValueError("the first line\nand a second one")


PARTS = {"fine": fine, "slow": slow, "hanging": hanging, "crashing": crashing,
         "failing": failing}
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
        assert begun["process"] == first["process"] and error == {"error": "stopped after 2 s"}
        assert 1.9 < time.monotonic() - start < LIMIT and not is_alive(first["process"])
        assert not Path(begun["folder"]).exists()
        begun, error = worker.measure("crashing", LIMIT)
        assert error == {"error": "the process ended (exit code 7)"}
        begun, error = worker.measure("failing", LIMIT)
        assert error == {"error": "ValueError: the first line"}
        assert not is_alive(begun["process"])
    finally:
        worker.close()


def test_a_limit_counts_from_when_the_process_is_ready() -> None:
    worker = Worker(PARTS, plan=5)  # type: ignore[arg-type]
    try:
        start = time.monotonic()
        # far less than a process takes to import torch
        begun, error = worker.measure("hanging", 1)
        assert error == {"error": "stopped after 1 s"} and not is_alive(begun["process"])
        assert time.monotonic() - start > 1 + worker_module.END
        assert begun["start_method"] == multiprocessing.get_start_method()
    finally:
        worker.close()


def test_a_process_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "START", 0)
    worker = Worker(PARTS, plan=5)  # type: ignore[arg-type]
    assert list(worker.measure("fine", LIMIT)) == [
        {"error": "the process did not start within 0 s"}]
    assert worker.process is None


def test_nothing_begins_that_would_not_end_in_time() -> None:
    deadline = Deadline(1000)
    assert deadline.allows("compiled")
    with deadline.timed("compiled"):
        pass
    deadline.longest["compiled"] = 2000
    assert not deadline.allows("compiled") and deadline.allows("eager")
    assert not Deadline(0).allows("eager")
