from __future__ import annotations

import logging
import threading
import time

import pytest

from tests.utils.training.tracking.conftest import IMAGE, Recorder
from utils.training.tracking import tracker as module
from utils.training.tracking.tracker import BackgroundTracker

LINE = "is off from here on"


def test_calls_reach_the_tracker_in_their_order() -> None:
    inner = Recorder()
    tracker = BackgroundTracker(lambda: inner, "x")
    tracker.scalars({"a": 1.0}, 1)
    tracker.pictures({"b": IMAGE}, 2)
    tracker.finish({"c": 3.0})
    assert [(name, args[0].keys()) for name, args, _ in inner.calls] == [
        ("scalars", {"a"}), ("pictures", {"b"}), ("finish", {"c"})]
    assert not tracker.failed


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), SystemExit("log in first"),
                                   ImportError("broken")])
def test_an_error_is_one_line_and_the_last_call(error: BaseException,
                                                caplog: pytest.LogCaptureFixture) -> None:
    def build() -> Recorder:
        raise error

    tracker = BackgroundTracker(build, "wandb")
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.scalars({"a": 1.0}, step)
        tracker.finish({})
    (line,) = [record.getMessage() for record in caplog.records]
    assert LINE in line and "--track wandb" in line and str(error) in line


def test_a_tracker_that_breaks_later_is_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    inner = Recorder()
    inner.scalars = lambda values, step: 1 / 0
    tracker = BackgroundTracker(lambda: inner, "x")
    tracker.scalars({}, 1)
    tracker.thread.join(5)
    tracker.pictures({}, 2)
    tracker.finish({})
    assert inner.calls == [] and sum(LINE in record.getMessage() for record in caplog.records) == 1


def test_a_tracker_that_hangs_delays_neither_the_run_nor_its_end(
        caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    release = threading.Event()

    def build() -> Recorder:
        release.wait(20)
        return Recorder()

    tracker = BackgroundTracker(build, "x", patience=0.1)
    start = time.monotonic()
    for step in range(50):
        tracker.scalars({"a": 1.0}, step)
    tracker.finish({})
    assert time.monotonic() - start < 2
    release.set()
    assert "10 calls wait for an answer" in caplog.text
    waiting = BackgroundTracker(lambda: release.clear() or release.wait(20), "x", patience=0.1)
    waiting.finish({})
    assert "did not answer for 0 s" in caplog.text
    release.set()
