"""Trains, scores and keeps the missing runs of a study: `python -m tools.maintainer.study NAME`.

`results/runs/NAME/plan.yaml` lists the runs beside the question of `study.yaml`:

    train: --recipe imagenet --dataset idd_lite --val_split none     # flags of every training
    evaluate: --split val                                            # flags of every evaluation
    rows:                                    # label of study.yaml -> the flags in which it differs
      fpn: --arch fpn_timm:tf_efficientnet_lite0
      sfnet: --arch sfnet_timm:tf_efficientnet_lite0
    order:                                   # groups of rows; in a group, all rows of a seed first
      - {rows: [fpn, sfnet], seeds: 5}

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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import torch
import yaml

import train
from tools.benchmark.train import Steps
from tools.maintainer.results import studies
from tools.maintainer.results.keep import keep
from utils.cli import FlagParser, add_switch, positive_int, run_program, suggest
from utils.files import ROOT
from utils.training.signals import Interrupts

log = logging.getLogger("study")

PLAN = "plan.yaml"
ENTRIES = {"train", "evaluate", "rows", "order"}
# timed steps, after others in which kernels are chosen and workers start
WARM_UP, TIMED = 2, 5


@dataclass(frozen=True)
class PlannedRun:
    """A training, its evaluation and the study that keeps it.

    Attributes:
        study: the folder of the study.
        label, seed: the row of the study and the seed.
        train_flags, eval_flags: of `train.py` and `eval.py`, without the folder and the snapshot.
    """

    study: Path
    label: str
    seed: int
    train_flags: tuple[str, ...]
    eval_flags: tuple[str, ...]

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
        ValueError: the plan has unknown entries or rows, or none.
    """
    question, path = studies.read_question(folder), folder / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {PLAN}, which lists the runs: tools/maintainer/"
                                "study.py shows one")
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(plan, dict) or set(plan) != ENTRIES:
        raise ValueError(f"{path} must have the entries {', '.join(sorted(ENTRIES))}, and no other")
    for label in [*plan["rows"], *(label for group in plan["order"] for label in group["rows"])]:
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


def _plan(folder: Path, plan: Mapping[str, Any], label: str, seed: int,
          roots: Sequence[str]) -> PlannedRun:
    train_flags = shlex.split(f"{plan['train']} {plan['rows'][label]}")
    return PlannedRun(folder, label, seed, (*train_flags, *roots),
                      (*shlex.split(plan["evaluate"]), *roots))


def expected_seconds(runs: Sequence[PlannedRun]) -> dict[str, float]:
    """Returns label -> seconds of one training, timed over a few steps with one thread."""
    seconds: dict[str, float] = {}
    for run in runs:
        if run.label not in seconds:
            seconds[run.label] = _time(run)
    return seconds


def _time(run: PlannedRun) -> float:
    with TemporaryDirectory() as scratch:
        options = train.parse([*run.train_flags, "--ckpt", scratch, "--exp", "timing"])
        with closing(train.Training(options)) as training:
            steps = Steps(training)
            steps.run(WARM_UP)
            start = time.perf_counter()
            steps.run(TIMED)
            return (time.perf_counter() - start) / TIMED * training.intervals.total_steps


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

    def train_all(self, runs: Sequence[PlannedRun], interrupts: Interrupts) -> None:
        """Trains, scores and keeps runs; after a failure the other trainings save and stop.

        Raises:
            Interrupted: a signal came; every training has saved a checkpoint.
            ChildProcessError: a command failed.
        """
        with ThreadPoolExecutor(self.at_once) as pool:
            futures = [pool.submit(self.train_one, run, slot) for slot, run in enumerate(runs)]
            try:
                while any(not future.done() for future in futures):
                    interrupts.check()
                    time.sleep(0.5)
                    self._raise_failure(futures)
            finally:
                self.stop.set()
                for process in list(self.processes):
                    process.send_signal(signal.SIGTERM)
        self._raise_failure(futures)

    @staticmethod
    def _raise_failure(futures: Sequence[Any]) -> None:
        for future in futures:
            error = future.exception() if future.done() else None
            if error is not None and not isinstance(error, Stopped):
                raise error

    def train_one(self, run: PlannedRun, slot: int) -> None:
        training, evaluation = run.commands(self.logs)
        started = time.monotonic()
        for command in (training, evaluation):
            self.call(run, command, slot)
        kept = keep(self.logs / run.name, run.study, run.label)
        minutes = (time.monotonic() - started) / 60
        log.info("%s: kept in %s after %.0f minutes", run.name, kept, minutes)

    def call(self, run: PlannedRun, command: Sequence[str], slot: int) -> None:
        """Runs a command, with its output in a file beside the run.

        Raises:
            Stopped: it was told to stop.
            ChildProcessError: it failed.
        """
        if self.stop.is_set():
            raise Stopped
        self.logs.mkdir(parents=True, exist_ok=True)
        output = self.logs / f"{run.name}.out"
        with output.open("ab") as file, subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True,
                env={**os.environ, **_resources(slot, self.at_once)}) as process:
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
            raise ChildProcessError(f"{run.name} failed with exit code {code}: {last} "
                                    f"(all of it: {output})")


def _resources(slot: int, at_once: int) -> dict[str, str]:
    """Returns the environment variables by which a command uses its share of the machine."""
    gpus = torch.cuda.device_count()
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": str(slot % gpus)}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}


def run(args: Namespace) -> None:
    """Prints the plan, then trains.

    Raises:
        ValueError, OSError: the plan is invalid.
        ChildProcessError: a command failed.
        Interrupted: a signal came.
    """
    planned = read_plan(args.runs / args.study, args.data_root)
    missing = [run for run in planned if not run.is_kept][:args.most]
    log.info("%d of %d runs are missing", len(missing), len(planned))
    if not missing:
        return
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    seconds = expected_seconds(missing)
    for run in missing:
        log.info("%-24s %5.0f minutes", run.name, seconds[run.label] / 60)
    hours = sum(seconds[run.label] for run in missing) / min(args.at_once, len(missing)) / 3600
    log.info("about %.1f hours, %d at once; less for trainings that have begun", hours,
             args.at_once)
    if args.dry_run:
        return
    with Interrupts() as interrupts:
        Runner(args.logs / args.study, args.at_once).train_all(missing, interrupts)
    log.info("Done. Write the page: python -m tools.maintainer.results")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.study", lambda: run(args),
                       resume="the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
