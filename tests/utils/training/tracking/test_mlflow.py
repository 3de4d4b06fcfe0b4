from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.utils.training.tracking.conftest import IMAGE, Recorder, stand_in
from utils.training.tracking.mlflow import MlflowTracker
from utils.training.tracking.tracker import RunInfo

CREATED = SimpleNamespace(info=SimpleNamespace(run_id="r1"))


def install(monkeypatch: pytest.MonkeyPatch, **answers: object) -> tuple[Recorder, list[str]]:
    known = {"create_experiment": "e1", "create_run": CREATED, "search_runs": []}
    client, uris = Recorder(**{**known, **answers}), []

    def connect(uri: str) -> Recorder:
        uris.append(uri)
        return client

    stand_in(monkeypatch, "mlflow", MlflowClient=connect)
    stand_in(monkeypatch, "mlflow.entities", Metric=lambda *fields: fields,
             Param=lambda *fields: fields, RunTag=lambda *fields: fields)
    return client, uris


def test_a_run_is_described_followed_and_ended(run: RunInfo,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, uris = install(monkeypatch)
    tracker = MlflowTracker(run)
    assert uris == [f"sqlite:///{run.shared_folder}/mlflow.db"]
    assert client.named("create_run") == [(("e1",), {"run_name": "first"})]
    (_, described), _ = client.named("log_batch")
    assert described["params"] == [("lr", "0.1"), ("scales", "(1, 2)"), ("cv", "None")]
    assert described["tags"] == [("run_id", run.id)]
    tracker.scalars({"train/loss(x)": 1.5}, 7)
    (_, metrics), _ = client.named("log_batch")[-1]
    name, value, _, step = metrics[0]
    assert (name, value, step) == ("train/loss_x_", 1.5, 7)
    tracker.pictures({"validation/a": IMAGE}, 7)
    assert client.named("log_image")[0][1] == {"key": "validation/a", "step": 7}
    tracker.finish({"mIoU": 0.5})
    assert client.named("log_batch")[-1][0][1][0][:2] == ("final/mIoU", 0.5)
    assert client.named("set_terminated") == [(("r1",), {})]


def test_a_resumed_run_goes_on_and_a_server_is_taken_from_the_environment(
        run: RunInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    client, uris = install(monkeypatch, search_runs=[CREATED])
    assert MlflowTracker(run).id == "r1" and uris == ["http://host:5000"]
    assert client.named("create_experiment")[0][1] == {"artifact_location": None}
    assert client.named("search_runs")[0][0][1] == f"tags.run_id = '{run.id}'"
    assert not client.named("create_run")
