"""The metrics of a run, and the window of steps between two log lines."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from utils.training.progress import Progress
from utils.training.run_log import RunLog, Window, last_step

CPU = torch.device("cpu")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def open_log(folder: Path, progress: Progress | None = None, **options: Any) -> RunLog:
    return RunLog(folder, folder / "tb", progress or Progress(), total_steps=10, steps_per_epoch=5,
                  device=CPU, **options)


def test_a_resumed_log_is_what_the_checkpoint_holds_whatever_became_of_the_file(
        tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for step in (2, 4):
        log.write("train", step, loss=1.0, terms={"main": 1.0, "aux0": None})
    text = log.text()
    log.write("train", 6, loss=1.0)
    log.close()
    path = tmp_path / "metrics.jsonl"
    for damaged in (path.read_text(), text[:len(text) // 2], ""):
        path.write_text(damaged)
        log = open_log(tmp_path, Progress(step=4, metrics=text))
        assert log.text() == text
        log.write("train", 6, loss=0.5)
        log.close()
        assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
            (2, 1.0), (4, 1.0), (6, 0.5)]


def test_a_checkpoint_without_the_log_keeps_the_whole_lines_before_its_step(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 2, "loss": 1.0}\n{"kind": "trai')
    old = Progress(step=4, metrics=None)
    open_log(tmp_path, old).close()
    assert f"{path} was cut short: it logs no step from 3 to 4" in caplog.text
    caplog.clear()
    open_log(tmp_path, old).close()
    assert not caplog.text
    assert [line["step"] for line in lines(tmp_path)] == [2]


def test_a_quiet_log_writes_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path, quiet=True)
    log.write("train", 1, loss=1.0)
    log.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_window_keeps_each_steps_terms_and_images() -> None:
    window = Window()
    for step, value in ((1, 1.0), (2, 3.0)):
        window.add(step, ["a", "b"], {"main": torch.tensor(value)})
    window.add(3, ["c", "d"], None)  # left out: its images were loaded, but there is no loss
    assert window.fetch() == [(1, {"main": 1.0}), (2, {"main": 3.0})]
    assert window.images == 6 and window.names(2) == ["a", "b"]


def test_a_rewound_log_has_each_step_once_in_tensorboard(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for step, loss in ((2, 1.0), (4, 2.0)):
        log.write("train", step, loss=loss)
    progress = Progress(step=4, metrics=log.text())
    for step, loss in ((5, 9.0), (6, 9.0)):
        log.write("train", step, loss=loss)
    log.add_images({"street": np.zeros((4, 4, 3), np.uint8)}, 6)
    log.rewind(progress)
    log.write("train", 6, loss=3.0)
    log.add_images({"street": np.zeros((4, 4, 3), np.uint8)}, 8)
    log.close()
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6]
    board = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [
        (2, 1.0), (4, 2.0), (6, 3.0)]
    assert [image.step for image in board.Images("street")] == [8]


def test_a_quiet_log_is_rewound_without_a_file(tmp_path: Path) -> None:
    log = open_log(tmp_path, quiet=True)
    log.rewind(Progress(step=4))
    log.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class ClockedTeacher:
    """A teacher whose forward passes take as long as is said."""

    total = 0.0

    def seconds(self) -> float:
        seconds, self.total = self.total, 0.0
        return seconds


@pytest.mark.parametrize("unlogged", ["a window of skipped steps", "a rewind"])
def test_a_teachers_time_counts_in_its_own_window_only(
    unlogged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, window = ClockedTeacher(), Window()
    log = open_log(tmp_path, teacher=teacher)
    monkeypatch.setattr(window, "seconds", lambda: 4.0)
    teacher.total = 3.0
    if unlogged == "a rewind":
        log.rewind(Progress())
    else:
        log.log_window(window, {}, 1, 0.1, None)
    teacher.total = 2.0
    window.add(2, ["a"], {"main": torch.tensor(1.0)})
    log.log_window(window, {"main": 1.0}, 2, 0.1, None)
    log.close()
    assert [line["teacher"] for line in lines(tmp_path)] == [0.5]


def test_a_pause_is_not_counted() -> None:
    window = Window()
    with window.paused():
        time.sleep(0.2)
    assert window.seconds() < 0.1


def test_a_number_that_is_not_finite_is_null_because_json_has_no_nan(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write("validation", 1, mIoU=math.nan, mIoU_of={"raw": math.inf}, norms=[1.0, -math.inf])
    log.close()

    def refuse(name: str) -> None:
        raise ValueError(name)

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert (line["mIoU"], line["mIoU_of"], line["norms"]) == (None, {"raw": None}, [1.0, None])


def test_a_run_that_begins_again_at_step_0_keeps_no_line(tmp_path: Path) -> None:
    for _ in range(2):
        log = open_log(tmp_path)
        log.write_sampling({0: 3}, ["road"])
        log.write("train", 1, loss=1.0)
        log.close()
        # the name of an events file has whole seconds: the next one would have the same
        events = max((tmp_path / "tb").iterdir())
        events.rename(events.with_name(f"events.out.tfevents.{events.stat().st_mtime_ns}"))
    assert [line["kind"] for line in lines(tmp_path)] == ["sampling", "train"]
    board = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1]


def test_the_last_step_of_a_log_with_a_torn_line_is_the_last_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_step(path) == 0
    path.write_text('{"step": 3}\n{"step": 5}\n{"st')
    assert last_step(path) == 5
