from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
import eval as evaluate
import train
from tools.import_labels.writing import describe
from tools.maintainer import study
from tools.maintainer.results.studies import RUNS
from tools.maintainer.study import PlannedRun, Runner, Timing
from tools.pseudo_label import __main__ as pseudo_label
from utils.files import ROOT
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
    (PLAN.replace("evaluate:", "eval:"), "must have the entries evaluate, order, rows, train, may"),
    ("- a list", "must have the entries"),
    (PLAN.replace("train:", "train: ["), "is not YAML"),
    (PLAN.partition("rows:")[0] + "rows:\norder: []\n", "'rows' is a NoneType, not a dict"),
    (PLAN.partition("order:")[0] + "order: [fpn]\n", "and 'fpn' is none"),
    (PLAN.replace("--arch sfnet_dfnetv1", "3"), "the row 'sfnet' is 3, and neither flags nor"),
    (PLAN.replace("resnet18}", "resnet18 --max_iters 9}") + "same_time: {psp: sfnets}",
     r"'sfnets' .* did you mean 'sfnet'"),
    (PLAN + "same_time: {psp: sfnet}", "'psp' of `same_time` has no --max_iters"),
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
    times = {"fpn": Timing(0.5, 1200), "sfnet": Timing(1.0, 1200), "psp": Timing(1.5, 1200)}
    monkeypatch.setattr(study, "expected_times", lambda runs: times)
    assert study.main(["pair", "--runs", str(folder.parent), "--at_once", "2", "--dry_run"]) == 0
    output = capsys.readouterr().out
    assert "4 of 5 runs are missing" in output
    assert "fpn_s0" not in output
    # 1200 + 600 + 1200 + 1800 s by two
    assert "about 0.7 hours, 2 at once" in output


def test_a_row_may_be_scored_in_another_way(folder: Path) -> None:
    (folder / "plan.yaml").write_text(PLAN.replace(
        "sfnet: --arch sfnet_dfnetv1", "sfnet: {train: --crop_size 9, evaluate: --scales 1.5}"))
    fpn, sfnet = study.read_plan(folder, None)[:2]
    assert sfnet.train_flags[-2:] == ("--crop_size", "9")
    assert sfnet.eval_flags == ("--split", "val", "--scales", "1.5")
    assert fpn.eval_flags == ("--split", "val")


def test_a_row_takes_as_long_as_another_by_its_number_of_steps(folder: Path) -> None:
    (folder / "plan.yaml").write_text(PLAN.replace(
        "psp: --arch pspnet_resnet18", "psp: --arch pspnet_resnet18 --max_iters 700")
        + "same_time: {psp: sfnet}\n")
    runs = study.read_plan(folder, None)
    assert [run.same_time and run.same_time.label for run in runs] == [None] * 4 + ["sfnet"]
    times = {"fpn": Timing(1.0, 500), "sfnet": Timing(1.2, 500), "psp": Timing(0.8, 700)}
    # 500 steps of 1.2 s take as long as 750 of 0.8 s
    assert study.unequal_times(runs, times) == [
        "psp: 750 steps take as long as the 500 of sfnet (0.80 s and 1.20 s a step); the plan has "
        "700: write --max_iters 750"]
    times["psp"] = Timing(0.84, 700)
    # 714 steps: within 5 %
    assert study.unequal_times(runs, times)[0].endswith("the plan has 700")


def test_the_reference_of_a_row_is_timed_even_if_its_runs_are_kept(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "plan.yaml").write_text(PLAN.replace(
        "psp: --arch pspnet_resnet18", "psp: --arch pspnet_resnet18 --max_iters 700")
        + "same_time: {psp: sfnet}\n")
    monkeypatch.setattr(study, "_time", lambda run: Timing(len(run.label), 2))
    times = study.expected_times(study.read_plan(folder, None)[4:])
    assert times == {"psp": Timing(3, 2), "sfnet": Timing(5, 2)}
    assert times["sfnet"].seconds == 10


def make_empty(file: Path) -> None:
    """Writes a file that parsing reads: a dataset of the classes of IDD-lite, or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    spec = datasets.spec("idd_lite")
    is_dataset = file.name == "dataset.yaml"
    file.write_text(describe(spec.name, spec.classes, {"train": None}, spec.crop_size, "a test")
                    if is_dataset else "")


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RUNS.glob("*/plan.yaml")))
def test_every_plan_has_flags_that_its_programs_know(name: str, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    # the files that the rows need
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "ROOT", tmp_path)
    for file, command in study.commands_first(RUNS / name, None).items():
        if command[0] == "sh":
            assert command[1] == f"scripts/train/{file.parent.name}.sh"
            assert (ROOT / command[1]).is_file()
            train.parse(command[2:])
        else:
            assert command[1:3] == ["-m", "tools.pseudo_label"]
            pseudo_label.Options.from_args(pseudo_label.build_parser().parse_args(command[3:]))
        make_empty(file)
    for run in {run.label: run for run in study.read_plan(RUNS / name, None)}.values():
        training, evaluation = run.commands(Path("logs"))
        train.build_parser().parse_args(training[2:])
        evaluate.Options.from_args(evaluate.build_parser().parse_args(evaluation[2:]))
        train.parse([*run.train_flags, "--exp", run.name])


FIRST = """first:
  logs/train_teacher/last.pth: scripts/train/train_teacher.sh --resume auto
  data/pseudo/dataset.yaml: -m tools.pseudo_label --out data/pseudo
"""


def test_files_that_rows_need_are_made_first(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "ROOT", tmp_path)
    (folder / "plan.yaml").write_text(PLAN + FIRST)
    teacher = tmp_path / "logs/train_teacher/last.pth"
    labels = tmp_path / "data/pseudo/dataset.yaml"
    assert study.commands_first(folder, Path("D")) == {
        teacher: ["sh", "scripts/train/train_teacher.sh", "--resume", "auto", "--data_root", "D"],
        labels: [sys.executable, "-m", "tools.pseudo_label", "--out", "data/pseudo",
                 "--data_root", "D"]}
    # the checkpoint may be that of an interrupted training
    make_empty(teacher)
    make_empty(labels)
    assert list(study.commands_first(folder, None)) == [teacher]
    (folder / "plan.yaml").write_text(PLAN + FIRST.replace(" --resume auto", ""))
    with pytest.raises(ValueError, match=r"last.pth in `first` needs --resume auto"):
        study.commands_first(folder, None)


def test_a_command_makes_its_file(tmp_path: Path) -> None:
    file = tmp_path / "teacher" / "last.pth"
    program = f"import pathlib\npathlib.Path({str(file)!r}).touch()"
    file.parent.mkdir()
    with Interrupts() as interrupts:
        Runner(tmp_path / "logs", 2).make(file, [sys.executable, "-c", program], interrupts)
        assert file.exists()
        with pytest.raises(FileNotFoundError, match=r"other.pth was not made by .* python -c pass"):
            Runner(tmp_path / "logs", 2).make(tmp_path / "other.pth",
                                              [sys.executable, "-c", "pass"], interrupts)


def test_a_dry_run_names_the_commands_that_make_files(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(study, "ROOT", tmp_path)
    (folder / "plan.yaml").write_text(PLAN + FIRST)
    assert study.main(["pair", "--runs", str(folder.parent), "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert ("first, logs/train_teacher/last.pth: sh scripts/train/train_teacher.sh --resume auto"
            in printed)
    assert "first, data/pseudo/dataset.yaml: python -m tools.pseudo_label" in printed
    assert "the runs can be timed when these files exist" in printed


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


def test_a_run_takes_the_slot_that_is_free(tmp_path: Path, run: FakeRun,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "keep", lambda *words: None)
    monkeypatch.setattr(study.torch.cuda, "device_count", lambda: 2)
    begun, name = tmp_path / "begun", "print(__import__('os').environ['CUDA_VISIBLE_DEVICES'])"
    # the first run ends when the third, which follows the short second, has begun
    waits = ("import time, pathlib\n"
             f"while not pathlib.Path({str(begun)!r}).exists():\n    time.sleep(0.05)\n{name}")
    begins = f"import pathlib\npathlib.Path({str(begun)!r}).touch()\n{name}"
    runs = [replace(run, train_flags=(waits,)), replace(run, seed=1, train_flags=(name,)),
            replace(run, seed=2, train_flags=(begins,))]
    with Interrupts() as interrupts:
        Runner(tmp_path / "logs", 2).train_all(runs, interrupts)
    gpus = [(tmp_path / f"logs/a_s{seed}.out").read_text().splitlines()[0] for seed in range(3)]
    assert gpus[1] == gpus[2] != gpus[0]


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
