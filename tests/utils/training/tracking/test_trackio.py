from __future__ import annotations

import os

import pytest

from tests.utils.training.tracking.conftest import IMAGE, Recorder, stand_in
from utils.training.tracking.tracker import RunInfo
from utils.training.tracking.trackio import TrackioTracker


def test_a_run_is_described_followed_and_ended(run: RunInfo,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    # undone at the end of the test, as the tracker sets it
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    inner = Recorder()
    library = Recorder(init=inner)
    stand_in(monkeypatch, "trackio", init=library.init, Image=lambda image: ("image", image.shape))
    tracker = TrackioTracker(run)
    assert os.environ.pop("TRACKIO_DIR") == str(run.shared_folder / "trackio")
    ((_, opened),) = library.named("init")
    assert (opened["name"], opened["resume"]) == ("first", "allow")
    assert opened["config"] == {"lr": 0.1, "scales": "(1, 2)", "cv": None}
    tracker.scalars({"train/loss": 1.5}, 7)
    tracker.pictures({"a": IMAGE}, 7)
    assert inner.named("log") == [(({"train/loss": 1.5},), {"step": 7}),
                                  (({"a": ("image", (4, 6, 3))},), {"step": 7})]
    tracker.finish({"mIoU": 0.5})
    assert inner.named("log")[-1] == (({"final/mIoU": 0.5},), {})
    assert len(inner.named("finish")) == 1
