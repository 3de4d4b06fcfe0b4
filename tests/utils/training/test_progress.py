"""Which step is the best of a run, and what a checkpoint holds of its progress."""

from __future__ import annotations

import math

from utils.training.progress import Progress


def test_a_step_is_the_best_only_if_it_was_validated_with_a_higher_score() -> None:
    progress = Progress(step=10)
    assert not progress.update_best()  # not validated
    progress.record_validation(0.4)
    assert progress.update_best() and progress.best == 0.4
    progress.step = 20
    assert not progress.update_best()  # the score is of step 10
    progress.record_validation(0.4)
    assert not progress.update_best()  # not higher
    progress.record_validation(0.5)
    assert progress.update_best() and progress.best == 0.5


def test_a_checkpoint_holds_the_progress_under_its_own_keys() -> None:
    progress = Progress(step=3, validated=2, mean_iu=0.25, best=0.5, skipped_steps=[1],
                        metrics='{"step": 3}\n')
    state = progress.state_dict()
    assert state == {"step": 3, "validated": 2, "mean_iu": 0.25, "best": 0.5, "left_out": [1],
                     "metrics": '{"step": 3}\n'}
    assert Progress.from_state(state) == progress
    # of version 0.2.0
    del state["metrics"]
    assert Progress.from_state(state).metrics is None


def test_a_score_that_is_undefined_is_never_the_best() -> None:
    progress = Progress(step=1)
    progress.record_validation(math.nan)
    assert progress.mean_iu is None and not progress.update_best()
    progress.step = 2
    progress.record_validation(0.1)
    assert progress.update_best() and progress.best == 0.1


def test_an_undefined_best_score_of_an_old_checkpoint_counts_as_none() -> None:
    state = {"step": 2, "validated": 2, "mean_iu": math.nan, "best": math.nan, "left_out": []}
    progress = Progress.from_state(state)
    progress.record_validation(0.1)
    assert progress.update_best() and progress.best == 0.1
