"""Which step is the best of a run, and what a checkpoint holds of its progress."""

from __future__ import annotations

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
    progress = Progress(step=3, validated=2, mean_iu=0.25, best=0.5, skipped_steps=[1])
    state = progress.state_dict()
    assert state == {"step": 3, "validated": 2, "mean_iu": 0.25, "best": 0.5, "left_out": [1]}
    assert Progress.from_state(state) == progress
