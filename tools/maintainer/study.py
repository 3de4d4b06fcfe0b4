"""Trains, scores and keeps the missing runs of a study: `python -m tools.maintainer.study NAME`.

`results/runs/NAME/plan.yaml` lists the runs beside the question of `study.yaml`:

    train: --recipe imagenet --dataset idd_lite --val_split none     # flags of every training
    evaluate: --split val                                            # flags of every evaluation
    rows:                                    # label of study.yaml -> the flags in which it differs
      fpn: --arch fpn_timm:tf_efficientnet_lite0
      sfnet: --arch sfnet_timm:tf_efficientnet_lite0
    order:                                   # groups of rows; in a group, all rows of a seed first
      - {rows: [fpn, sfnet], seeds: 5}
    same_time:                               # optional: row -> the row that it takes as long as
      fpn_longer: sfnet
    first:                                   # optional: file that the rows need -> its command
      logs/train_teacher/last.pth: scripts/train/train_teacher.sh --resume auto
      data/pseudo/dataset.yaml: -m tools.pseudo_label --out data/pseudo

A row that is scored in another way is `{train: FLAGS, evaluate: FLAGS}`.

A row of `same_time` has the number of its steps in its flags, `--max_iters N`. Before the runs
begin, the steps of both rows are timed, and the number that takes as long is printed.

The commands of `first`, launchers and modules, run in their order before the rows: a launcher every
time, since only `--resume auto` knows whether a training is complete, and a module if its file is
missing.

A run that is kept already is left out. Stopped at any time, the same command goes on: a training
that has begun is resumed at its step.
"""
from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, NamedTuple

import torch
import yaml

import train
from tools.benchmark.train import TrainingLoop
from tools.maintainer.results import studies
from tools.maintainer.results.keep import keep
from utils.cli import FlagParser, add_switch, positive_int, run_program, suggest
from utils.files import ROOT
from utils.training.signals import Interrupts

log = logging.getLogger("study")

PLAN = "plan.yaml"
# entry -> its type; the last two are optional
ENTRIES = {"evaluate": str, "order": list, "rows": dict, "train": str, "same_time": dict,
           "first": dict}
OPTIONAL: dict[str, dict[str, str]] = {"same_time": {}, "first": {}}
# timed steps, after others in which kernels are chosen and workers start
WARM_UP, TIMED = 2, 5
# fraction by which the time of a row of `same_time` may differ
TIME_TOLERANCE = 0.05


@dataclass(frozen=True)
class PlannedRun:
    """A training, its evaluation and the study that keeps it.

    Attributes:
        study: the folder of the study.
        label, seed: the row of the study and the seed.
        train_flags, eval_flags: of `train.py` and `eval.py`, without the folder and the snapshot.
        same_time: a run of the row that it takes as long as; None for equal steps.
    """

    study: Path
    label: str
    seed: int
    train_flags: tuple[str, ...]
    eval_flags: tuple[str, ...]
    same_time: PlannedRun | None = None

    @property
    def name(self) -> str:
        return f"{self.label}_s{self.seed}"

    @property
    def is_kept(self) -> bool:
        return (self.study / self.name).exists()

    def commands(self, logs: Path) -> tuple[list[str], list[str]]:
        """Returns the training and the evaluation, for runs in the folder `logs`."""
        training = [*self.train_flags, "--seed", str(self.seed), "--ckpt", str(logs),
                    "--exp", self.name, "--resume", "auto"]
        snapshot = logs / self.name / "last.pth"
        evaluation = ["--snapshot", str(snapshot), *self.eval_flags]
        return (
            [sys.executable, str(ROOT / "train.py"), *training],
            [sys.executable, str(ROOT / "eval.py"), *evaluation],
        )


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.study",
                        description="Train, score and keep the missing runs of a study.")
    parser.add_argument("study", help="name of a folder of --runs with study.yaml and plan.yaml")
    parser.add_argument("--runs", type=Path, default=studies.RUNS, help="folder of the studies")
    parser.add_argument("--logs", type=Path, default=ROOT / "logs", metavar="FOLDER",
                        help="the trainings are in its subfolder of the study's name")
    parser.add_argument("--data_root", type=Path, metavar="FOLDER",
                        help="folder of the dataset (default: that of the plan's flags)")
    parser.add_argument("--at_once", type=positive_int, default=_side_by_side(),
                        help="trainings side by side, which share the cores, or the GPUs in turn")
    parser.add_argument("--most", type=positive_int, metavar="COUNT",
                        help="train the first COUNT missing runs only (default: all)")
    add_switch(parser, "--dry_run", default=False,
               help="print the missing runs and how long they will take, and train nothing")
    return parser


def _side_by_side() -> int:
    """Returns the number of GPUs, or of cores: small networks gain little from more threads."""
    return torch.cuda.device_count() or os.cpu_count() or 1


def read_plan(folder: Path, data_root: Path | None) -> list[PlannedRun]:
    """Returns the runs of a study in the order in which they are trained.

    Args:
        data_root: folder of the dataset, in place of that in the flags.

    Raises:
        FileNotFoundError: the folder holds no study.yaml or no plan.yaml.
        ValueError: the plan has unknown entries or rows, or none, or one of another type.
    """
    question, path = studies.read_question(folder), folder / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {PLAN}, which lists the runs: tools/maintainer/"
                                "study.py shows one")
    plan = _read_yaml(path)
    labels = [*plan["rows"], *(label for group in plan["order"] for label in group["rows"]),
              *plan["same_time"], *plan["same_time"].values()]
    for label in labels:
        if label not in question.rows or label not in plan["rows"]:
            raise ValueError(f"{path}: the row {label!r} is not in `rows` of the plan and of "
                             f"{studies.STUDY}{suggest(label, question.rows)}")
    roots = ["--data_root", str(data_root)] if data_root else []
    runs = [_plan(folder, plan, label, seed, roots)
            for group in plan["order"]
            for seed in range(group["seeds"])
            for label in group["rows"]]
    # a row that several groups have is trained once for each seed
    return list({run.name: run for run in runs}.values())


def commands_first(folder: Path, data_root: Path | None) -> dict[Path, list[str]]:
    """Returns the files of `first` that may be incomplete, with the commands that make them.

    Paths are relative to the repository. Raises ValueError as `read_plan` does.
    """
    roots = ["--data_root", str(data_root)] if data_root else []
    first = _read_yaml(folder / PLAN)["first"]
    # last.pth exists from the first checkpoint on; a complete training returns at once
    return {ROOT / file: ["sh" if _is_launcher(command) else sys.executable,
                          *shlex.split(command), *roots]
            for file, command in first.items()
            if _is_launcher(command) or not (ROOT / file).exists()}


def _is_launcher(command: str) -> bool:
    return command.startswith("scripts/train/")


def _printed(command: Sequence[str]) -> str:
    return shlex.join(["python" if word == sys.executable else word for word in command])


def _read_yaml(path: Path) -> dict[str, Any]:
    """Returns the entries of a plan. Raises ValueError if one is missing, unknown or invalid."""
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plan, dict) or set(plan) | set(OPTIONAL) != set(ENTRIES):
        required = ", ".join(name for name in ENTRIES if name not in OPTIONAL)
        raise ValueError(f"{path} must have the entries {required}, may have "
                         f"{', '.join(OPTIONAL)}, and no other")
    plan = {**OPTIONAL, **plan}
    for name, kind in ENTRIES.items():
        if not isinstance(plan[name], kind):
            raise ValueError(f"{path}: {name!r} is a {type(plan[name]).__name__}, not a "
                             f"{kind.__name__}: tools/maintainer/study.py shows a plan")
    plan["rows"] = {label: _row(path, label, row) for label, row in plan["rows"].items()}
    for group in plan["order"]:
        is_group = (isinstance(group, dict) and set(group) == {"rows", "seeds"}
                    and isinstance(group["rows"], list) and isinstance(group["seeds"], int))
        if not is_group:
            raise ValueError(f"{path}: `order` is a list of groups such as "
                             f"{{rows: [a, b], seeds: 3}}, and {group!r} is none")
    for file, command in plan["first"].items():
        if not isinstance(command, str) or not (_is_launcher(command)
                                                or command.startswith("-m tools.")):
            raise ValueError(f"{path}: `first` has {command!r} for {file}, and neither "
                             "scripts/train/NAME.sh FLAGS nor -m tools.PROGRAM FLAGS")
        if _is_launcher(command) and "--resume auto" not in command:
            raise ValueError(f"{path}: the training of {file} in `first` needs --resume auto, so "
                             "that the study goes on after an interruption")
    for label in plan["same_time"]:
        if label in plan["rows"] and "--max_iters" not in plan["rows"][label]["train"]:
            raise ValueError(f"{path}: the row {label!r} of `same_time` has no --max_iters in its "
                             "flags: write any number, and --dry_run prints the right one")
    return plan


def _row(path: Path, label: str, row: Any) -> dict[str, str]:
    """Returns the flags of a row: those of its training, and those of its evaluation."""
    flags = {"train": row or ""} if isinstance(row, str | None) else row
    is_row = (isinstance(flags, dict) and set(flags) <= {"train", "evaluate"}
              and all(isinstance(words, str) for words in flags.values()))
    if not is_row:
        raise ValueError(f"{path}: the row {label!r} is {row!r}, and neither flags nor "
                         "{train: FLAGS, evaluate: FLAGS}")
    return {"train": "", "evaluate": "", **flags}


def _plan(folder: Path, plan: Mapping[str, Any], label: str, seed: int,
          roots: Sequence[str]) -> PlannedRun:
    row = plan["rows"][label]
    train_flags = shlex.split(f"{plan['train']} {row['train']}")
    eval_flags = shlex.split(f"{plan['evaluate']} {row['evaluate']}")
    reference = plan["same_time"].get(label)
    # the reference has none itself
    same_time = None
    if reference:
        same_time = _plan(folder, {**plan, "same_time": {}}, reference, seed, roots)
    return PlannedRun(folder, label, seed, (*train_flags, *roots),
                      (*eval_flags, *roots), same_time)


class Timing(NamedTuple):
    """How long a training takes.

    Attributes:
        step: seconds of a step.
        steps: their number.
    """

    step: float
    steps: int

    @property
    def seconds(self) -> float:
        return self.step * self.steps


def expected_times(runs: Sequence[PlannedRun]) -> dict[str, Timing]:
    """Returns the timings of the rows, by label, from a few steps of each with one thread.

    The rows that `same_time` refers to are among them.
    """
    times: dict[str, Timing] = {}
    for run in (*runs, *(run.same_time for run in runs)):
        if run is not None and run.label not in times:
            times[run.label] = _time(run)
    return times


def unequal_times(runs: Sequence[PlannedRun], times: Mapping[str, Timing]) -> list[str]:
    """Returns a line for each row of `same_time`: the number of steps that takes as long."""
    lines = {}
    for run in runs:
        if run.same_time is None:
            continue
        timing, reference = times[run.label], times[run.same_time.label]
        steps = round(reference.seconds / timing.step)
        fits = abs(timing.steps / steps - 1) <= TIME_TOLERANCE
        lines[run.label] = (
            f"{run.label}: {steps} steps take as long as the {reference.steps} of "
            f"{run.same_time.label} ({timing.step:.2f} s and {reference.step:.2f} s a step); the "
            f"plan has {timing.steps}{'' if fits else f': write --max_iters {steps}'}")
    return list(lines.values())


def _time(run: PlannedRun) -> Timing:
    with TemporaryDirectory() as scratch:
        options = train.parse([*run.train_flags, "--ckpt", scratch, "--exp", "timing"])
        with closing(train.Training(options)) as training:
            loop = TrainingLoop(training)
            loop.run(WARM_UP)
            start = time.perf_counter()
            loop.run(TIMED)
            step = (time.perf_counter() - start) / TIMED
            return Timing(step, training.intervals.total_steps)


class Stopped(Exception):
    """A signal ended a command, which saved its state."""


class Runner:
    """Runs commands side by side, each with its share of the cores and one of the GPUs.

    Args:
        logs: the trainings are in its subfolders.
        at_once: the most trainings side by side.
    """

    def __init__(self, logs: Path, at_once: int) -> None:
        self.logs = logs
        self.at_once = at_once
        self.stop = Event()
        self.processes: set[subprocess.Popen[bytes]] = set()
        # a run takes a slot, which decides its GPU, and gives it back
        self.slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(at_once):
            self.slots.put(slot)

    def train_all(self, runs: Sequence[PlannedRun], interrupts: Interrupts) -> None:
        """Trains, scores and keeps runs; after a failure the other trainings save and stop.

        Raises:
            Interrupted: a signal came; every training has saved a checkpoint.
            ChildProcessError: a command failed.
        """
        with ThreadPoolExecutor(self.at_once) as pool:
            self._wait([pool.submit(self.train_one, run) for run in runs], interrupts)

    def make(self, file: Path, command: Sequence[str], interrupts: Interrupts) -> None:
        """Runs the command that makes a file. Raises as `train_all` does."""
        with ThreadPoolExecutor(1) as pool:
            self._wait([pool.submit(self.call, file.parent.name, command, 0)], interrupts)
        if not file.exists():
            raise FileNotFoundError(f"{file} was not made by its command of `first`: "
                                    + _printed(command))

    def _wait(self, futures: Sequence[Future[None]], interrupts: Interrupts) -> None:
        try:
            while any(not future.done() for future in futures):
                interrupts.check()
                time.sleep(0.5)
                self._raise_failure(futures)
        except BaseException:
            self.stop.set()
            for process in list(self.processes):
                process.send_signal(signal.SIGTERM)
            raise
        self._raise_failure(futures)

    @staticmethod
    def _raise_failure(futures: Sequence[Future[None]]) -> None:
        for future in futures:
            error = future.exception() if future.done() else None
            if error is not None and not isinstance(error, Stopped):
                raise error

    def train_one(self, run: PlannedRun) -> None:
        training, evaluation = run.commands(self.logs)
        started = time.monotonic()
        # as many slots as threads: one is always free
        slot = self.slots.get()
        try:
            for command in (training, evaluation):
                self.call(run.name, command, slot)
        finally:
            self.slots.put(slot)
        kept = keep(self.logs / run.name, run.study, run.label)
        minutes = (time.monotonic() - started) / 60
        log.info("%s: kept in %s after %.0f minutes", run.name, kept, minutes)

    def call(self, name: str, command: Sequence[str], slot: int) -> None:
        """Runs a command, with its output in the file `NAME.out` beside the runs.

        Raises:
            Stopped: it was told to stop.
            ChildProcessError: it failed.
        """
        if self.stop.is_set():
            raise Stopped
        self.logs.mkdir(parents=True, exist_ok=True)
        output = self.logs / f"{name}.out"
        with output.open("ab") as file, subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True,
                env={**os.environ, "PYTHON": sys.executable, **_resources(slot, self.at_once)},
        ) as process:
            self.processes.add(process)
            # `train_all` may have told the others to stop in between
            if self.stop.is_set():
                process.send_signal(signal.SIGTERM)
            code = process.wait()
            self.processes.discard(process)
        if self.stop.is_set():
            raise Stopped
        if code:
            lines = output.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no output"
            raise ChildProcessError(f"{name} failed with exit code {code}: {last} "
                                    f"(all of it: {output})")


def _resources(slot: int, at_once: int) -> dict[str, str]:
    """Returns the environment variables by which a command uses its share of the machine."""
    gpus = torch.cuda.device_count()
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": str(slot % gpus)}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}


def run(args: Namespace) -> None:
    """Makes the files that the rows need, says how long the runs take, and trains them.

    Raises:
        ValueError, OSError: the plan is invalid.
        ChildProcessError: a command failed.
        Interrupted: a signal came.
    """
    folder = args.runs / args.study
    planned = read_plan(folder, args.data_root)
    missing = [run for run in planned if not run.is_kept][:args.most]
    log.info("%d of %d runs are missing", len(missing), len(planned))
    if not missing:
        return
    files = commands_first(folder, args.data_root)
    for file, command in files.items():
        log.info("first, %s: %s", file.relative_to(ROOT), _printed(command))
    if args.dry_run:
        if all(file.exists() for file in files):
            _log_times(missing, args.at_once)
        else:
            log.info("the runs can be timed when these files exist")
        return
    runner = Runner(args.logs / args.study, args.at_once)
    with Interrupts() as interrupts:
        for file, command in files.items():
            runner.make(file, command, interrupts)
        _log_times(missing, args.at_once)
        runner.train_all(missing, interrupts)
    log.info("Done. Write the page: python -m tools.maintainer.results")


def _log_times(missing: Sequence[PlannedRun], at_once: int) -> None:
    """Logs how long each run takes, and all of them with `at_once` side by side."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    times = expected_times(missing)
    for run in missing:
        log.info("%-24s %5.0f minutes", run.name, times[run.label].seconds / 60)
    for line in unequal_times(missing, times):
        log.info("%s", line)
    seconds = sum(times[run.label].seconds for run in missing)
    hours = seconds / min(at_once, len(missing)) / 3600
    log.info("about %.1f hours, %d at once; less for trainings that have begun", hours, at_once)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.study", lambda: run(args),
                       resume="the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
