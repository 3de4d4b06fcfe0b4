"""When a run logs, validates and saves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from utils.training import intervals as module
from utils.training.intervals import IntervalOptions, Intervals


def test_late_epochs_are_scored_each_and_early_ones_rarely() -> None:
    options = IntervalOptions(
        max_iters=1000,
        eval_epoch=20,
        eval_every=30,
        eval_late=0.05,
        log_every=7,
        checkpoint_every="25",
    )
    intervals = Intervals(options, steps_per_epoch=10)
    assert [step // 10 for step in range(1001) if intervals.should_validate(step)] == [
        20,
        50,
        80,
        96,
        97,
        98,
        99,
        100,
    ]
    assert [step for step in range(60) if intervals.should_save(step)] == [0, 25, 50]
    assert intervals.should_save(1000)


def test_a_checkpoint_by_the_clock_is_requested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(seconds=0.0, monotonic=lambda: clock.seconds)
    monkeypatch.setattr(module, "time", clock)
    intervals = Intervals(IntervalOptions(checkpoint_every="2m"), steps_per_epoch=10)
    requests = []
    for clock.seconds in (120.0, 121.0, 122.0, 240.0, 242.0):
        requests.append(intervals.should_request_save())
    assert requests == [False, True, False, False, True]
    clock.seconds = 300.0
    intervals.restart_clock()
    clock.seconds = 420.0
    assert not intervals.should_request_save()
    by_steps = Intervals(IntervalOptions(checkpoint_every="2"), steps_per_epoch=10)
    clock.seconds = 10_000.0
    assert not by_steps.should_request_save()
