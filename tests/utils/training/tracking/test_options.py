from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import train
from tests.utils.training.tracking.conftest import Recorder, stand_in
from utils.training.tracking.options import TRACKERS, TrackingOptions


@pytest.mark.parametrize("name", TRACKERS)
def test_a_library_that_is_not_installed_is_refused_with_the_command(
        name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--track {name}: .*pip install '.\[tracking\]'"):
        TrackingOptions(name)
    assert name not in sys.modules


@pytest.mark.parametrize(("module", "name"), TRACKERS.values())
def test_each_adapter_is_where_the_table_says(module: str, name: str) -> None:
    adapter = getattr(importlib.import_module(module), name)
    assert {"scalars", "pictures", "finish"} <= {*vars(adapter)}


@pytest.mark.parametrize("name", TRACKERS)
def test_a_library_that_cannot_be_imported_is_told_in_one_line(
        name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('compiled for\\n another Python')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    tracker = TrackingOptions(name).open(tmp_path, {})
    assert tracker is not None
    tracker.finish({})
    assert caplog.messages == [
        f"--track {name} is off from here on (--track {name} needs {name}, which is installed but "
        "cannot be imported (RuntimeError: compiled for another Python): pip install "
        f"--force-reinstall --no-deps {name} installs it again): the run goes on, and "
        "metrics.jsonl and TensorBoard have everything."]


def test_without_the_flag_and_beside_the_main_process_nothing_is_opened(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert TrackingOptions().open(tmp_path, {}) is None
    assert TrackingOptions("wandb").open(tmp_path, {}, quiet=True) is None


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images in CamVid's layout."""
    folder, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for name, limit, channels in ((split, 256, 3), (f"{split}annot", 11, 1)):
            (folder / name).mkdir()
            for number in range(count):
                picture = rng.integers(0, limit, (64, 96, channels), np.uint8)
                assert cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


def run(camvid: Path, logs: Path, *flags: str) -> int:
    return train.main(["--arch", "sfnet_dfnetv1", "--pretrained", "none", "--dataset", "camvid",
                       "--data_root", str(camvid), "--crop_size", "64x96", "--bs_mult", "2",
                       "--num_workers", "0", "--max_iters", "2", "--log_every", "1", "--ckpt",
                       str(logs), "--exp", "run", *flags])


def test_a_tracker_gets_flags_numbers_images_and_the_final_scores(
        camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, inner = Recorder(), Recorder()
    library.answers["init"], inner.summary = inner, Recorder()
    stand_in(monkeypatch, "wandb", init=library.init, Image=lambda image: image.shape)
    assert run(camvid, tmp_path, "--track", "wandb") == 0
    opened = library.named("init")[0][1]
    assert opened["name"] == "run" and opened["config"]["arch"] == "sfnet_dfnetv1"
    logged: dict[str, Any] = {}
    for (values,), _ in inner.named("log"):
        logged |= values
    lines = [json.loads(line) for line in
             (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    validation = next(line for line in lines if line["kind"] == "validation")
    assert logged["validation/mIoU"] == validation["mIoU"] and "train/terms/main" in logged
    assert len(logged["validation/0"]) == 3
    ((scores,), _), = inner.summary.named("update")
    assert scores["final/mIoU"] == validation["mIoU"]
    assert len(inner.named("finish")) == 1


def test_a_run_goes_on_without_its_tracker(camvid: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**flags: object) -> None:
        raise ConnectionError("no connection")

    stand_in(monkeypatch, "wandb", init=fail, Image=None)
    assert run(camvid, tmp_path, "--track", "wandb") == 0
    said = capsys.readouterr().err
    assert said.count("--track wandb is off from here on (ConnectionError: no connection)") == 1
    assert (tmp_path / "run/last.pth").is_file()


def test_a_tracker_that_is_not_installed_is_refused_at_the_start(
        camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        run(camvid, tmp_path, "--track", "mlflow")
    assert stop.value.code == 2 and "pip install '.[tracking]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKERS)
def test_the_library_takes_a_run_offline_and_goes_on_with_it(
        name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    # read when trackio is imported
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip(name, reason="the extra `tracking` brings it")
    folder = tmp_path / "run"
    folder.mkdir()
    # MLflow takes 100 parameters at once
    flags = {f"flag_{number}": number for number in range(130)} | {"scales": (1.0, 2.0), "cv": None}
    for start in (0, 3):
        tracker = TrackingOptions(name).open(folder, flags)
        assert tracker is not None
        for step in range(start, start + 3):
            tracker.scalars({"train/loss": 1 / (step + 1), "validation/person/animal (x)": 0.5},
                            step)
        tracker.pictures({"validation/a b": np.zeros((20, 30, 3), np.uint8)}, start + 2)
        tracker.finish({"mIoU": 0.5})
        assert not tracker.failed
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
