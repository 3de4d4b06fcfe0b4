from __future__ import annotations

import pytest

from tests.utils.training.tracking.conftest import IMAGE, Recorder, stand_in
from utils.training.tracking.tracker import RunInfo
from utils.training.tracking.wandb import WandbTracker


def test_a_run_is_described_followed_and_ended(run: RunInfo,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    library, inner = Recorder(), Recorder()
    library.answers["init"] = inner
    inner.summary = Recorder()
    stand_in(monkeypatch, "wandb", init=library.init, Image=lambda image: ("image", image.shape))
    tracker = WandbTracker(run)
    ((_, opened),) = library.named("init")
    assert (opened["name"], opened["id"], opened["resume"]) == ("first", run.id, "allow")
    assert (opened["mode"], opened["dir"]) == ("offline", str(run.folder))
    assert opened["config"] == run.flags
    # a resumed run logs earlier steps again, which wandb's own step would refuse
    assert inner.named("define_metric") == [(("*",), {"step_metric": "step"})]
    tracker.scalars({"train/loss": 1.5}, 7)
    tracker.pictures({"a": IMAGE}, 7)
    assert inner.named("log") == [(({"train/loss": 1.5, "step": 7},), {}),
                                  (({"a": ("image", (4, 6, 3)), "step": 7},), {})]
    tracker.finish({"mIoU": 0.5})
    assert inner.summary.named("update") == [(({"final/mIoU": 0.5},), {})]
    assert len(inner.named("finish")) == 1


def test_the_environment_chooses_the_mode(run: RunInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    library = Recorder(init=Recorder())
    stand_in(monkeypatch, "wandb", init=library.init, Image=None)
    WandbTracker(run)
    assert library.named("init")[0][1]["mode"] == "online"
