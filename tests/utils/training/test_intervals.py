"""When a run logs, validates and saves."""

from __future__ import annotations

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
