from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools.maintainer import study
from tools.maintainer.study import PlannedRun, Runner
from utils.training.signals import Interrupted, Interrupts

QUESTION = """title: A question
place: 1
question: Which?
rows: {fpn: plain, sfnet: aligned, psp: pooled}
"""
PLAN = """train: --dataset streets --max_epoch 2
evaluate: --split val
rows: {fpn: --arch fpn_dfnetv1, sfnet: --arch sfnet_dfnetv1, psp: --arch pspnet_resnet18}
order:
  - {rows: [fpn, sfnet], seeds: 2}
  - {rows: [psp, fpn], seeds: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "pair"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(QUESTION)
    (folder / "plan.yaml").write_text(PLAN)
    return folder


def names(runs: list[PlannedRun]) -> list[str]:
    return [run.name for run in runs]


def test_rows_of_a_seed_stand_together_and_no_run_twice(folder: Path) -> None:
    runs = study.read_plan(folder, None)
    assert names(runs) == ["fpn_s0", "sfnet_s0", "fpn_s1", "sfnet_s1", "psp_s0"]


def test_a_run_trains_resumes_and_scores_its_last_checkpoint(folder: Path, tmp_path: Path) -> None:
    run = study.read_plan(folder, tmp_path / "data")[3]
    training, evaluation = run.commands(Path("logs/pair"))
    assert training[2:] == [
        "--dataset", "streets", "--max_epoch", "2", "--arch", "sfnet_dfnetv1", "--data_root",
        str(tmp_path / "data"), "--seed", "1", "--ckpt", "logs/pair", "--exp", "sfnet_s1",
        "--resume", "auto"]
    assert evaluation[2:] == ["--snapshot", "logs/pair/sfnet_s1/last.pth", "--split", "val",
                              "--data_root", str(tmp_path / "data")]


@pytest.mark.parametrize(("text", "message"), [
    (PLAN.replace("[fpn, sfnet]", "[fpn, sfnets]"), r"'sfnets' .* did you mean 'sfnet'"),
    (PLAN.replace("evaluate:", "eval:"), "must have the entries evaluate, order, rows, train"),
    ("- a list", "must have the entries"),
])
def test_a_wrong_plan_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        study.read_plan(folder, None)


def test_a_study_without_a_plan_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plan.yaml").unlink()
    assert study.main(["pair", "--runs", str(folder.parent)]) == 2
    assert "pair holds no plan.yaml" in capsys.readouterr().err


def test_a_dry_run_says_how_long_the_missing_runs_take(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "fpn_s0").mkdir()
    seconds = {"fpn": 600.0, "sfnet": 1200.0, "psp": 1800.0}
    monkeypatch.setattr(study, "expected_seconds", lambda runs: seconds)
    assert study.main(["pair", "--runs", str(folder.parent), "--at_once", "2", "--dry_run"]) == 0
    output = capsys.readouterr().out
    assert "4 of 5 runs are missing" in output
    assert "fpn_s0" not in output
    # 1200 + 600 + 1200 + 1800 s by two
    assert "about 0.7 hours, 2 at once" in output


class FakeRun(PlannedRun):
    """A planned run whose commands are small programs that write to the working folder."""

    def commands(self, logs: Path) -> tuple[list[str], list[str]]:
        training, evaluation = self.train_flags[0], self.eval_flags[0]
        return [sys.executable, "-c", training], [sys.executable, "-c", evaluation]


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path, "a", 0, ("print('trained')",), ("print('scored')",))


def test_runs_are_trained_scored_and_kept(tmp_path: Path, run: FakeRun,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[Path, Path, str]] = []
    monkeypatch.setattr(study, "keep", lambda *words: kept.append(words))
    with Interrupts() as interrupts:
        Runner(tmp_path / "logs", 2).train_all([run, replace(run, seed=1)], interrupts)
    assert sorted(kept) == [(tmp_path / f"logs/a_s{seed}", tmp_path, "a") for seed in (0, 1)]
    assert (tmp_path / "logs/a_s1.out").read_text() == "trained\nscored\n"


def test_a_failure_names_the_run_and_its_last_line(tmp_path: Path, run: FakeRun) -> None:
    failing = replace(run, train_flags=("raise SystemExit('no data')",))
    with (Interrupts() as interrupts,
          pytest.raises(ChildProcessError, match=r"a_s0 failed with exit code 1: no data \(all")):
        Runner(tmp_path / "logs", 1).train_all([failing, run], interrupts)


class StopWhenBegun(Interrupts):
    """Receives SIGTERM when a file exists."""

    def __init__(self, begun: Path) -> None:
        super().__init__()
        self.begun = begun

    def check(self) -> None:
        if self.begun.exists():
            self.number = signal.SIGTERM
        super().check()


def saving_program(begun: Path) -> str:
    """Returns a program that creates a file, and prints "saved" when it receives SIGTERM."""
    return ("import signal, time, pathlib\n"
            "def save(*_):\n    print('saved', flush=True)\n    raise SystemExit(143)\n"
            "signal.signal(signal.SIGTERM, save)\n"
            f"pathlib.Path({str(begun)!r}).touch()\n"
            "time.sleep(60)")


def test_a_signal_lets_trainings_save_and_begins_no_other(tmp_path: Path, run: FakeRun) -> None:
    slow = replace(run, train_flags=(saving_program(tmp_path / "begun"),))
    with StopWhenBegun(tmp_path / "begun") as interrupts, pytest.raises(Interrupted):
        Runner(tmp_path / "logs", 1).train_all([slow, replace(run, seed=1)], interrupts)
    assert (tmp_path / "logs/a_s0.out").read_text() == "saved\n"
    assert not (tmp_path / "logs/a_s1.out").exists()


def test_a_failure_lets_the_other_trainings_save(tmp_path: Path, run: FakeRun) -> None:
    begun = tmp_path / "begun"
    fails = ("import time, pathlib\n"
             f"while not pathlib.Path({str(begun)!r}).exists():\n    time.sleep(0.05)\n"
             "raise SystemExit('no data')")
    runs = [replace(run, train_flags=(saving_program(begun),)),
            replace(run, seed=1, train_flags=(fails,)), replace(run, seed=2)]
    with Interrupts() as interrupts, pytest.raises(ChildProcessError, match="a_s1 failed"):
        Runner(tmp_path / "logs", 2).train_all(runs, interrupts)
    assert (tmp_path / "logs/a_s0.out").read_text() == "saved\n"
