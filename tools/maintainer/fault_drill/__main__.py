"""Breaks training runs on purpose: `python -m tools.maintainer.fault_drill`.

Each drill trains on a few drawn street scenes, breaks the run, resumes it, and compares the final
weights with those of an undisturbed run, bit by bit.
"""
from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from tools.maintainer.fault_drill import chaos, hosts, kills, processes, storage, versions
from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite, SkippedDrill
from utils.cli import FAILED, FlagParser, positive_int, run_program
from utils.files import replace_between, write_text
from utils.training import run_folder

BEGIN = "<!-- drills: python -m tools.maintainer.fault_drill --doc docs/reference.md -->"
END = "<!-- end of drills -->"


class Drill(NamedTuple):
    """A row of the table of drills.

    Attributes:
        fault: what is broken; {times}, {twice} and {points} stand for numbers of repetitions.
        run: breaks a run and returns how it recovered. Raises BrokenPromise or SkippedDrill.
    """

    fault: str
    run: Callable[[DrillSite], str]


DRILLS = {
    "kill": Drill("kill -9 at random steps, {times} times in one run",
                  kills.killed_at_random_steps),
    "save": Drill("kill -9 during a save, {twice} times", kills.killed_while_saving),
    "epoch": Drill("kill -9 in the middle of epoch 2", kills.killed_in_an_epoch),
    "signals": Drill("SIGINT, SIGTERM and SIGUSR1, one after another", kills.stopped_by_signals),
    "truncated": Drill("the newest checkpoint cut in half", storage.truncated_checkpoint),
    "full": Drill("a checkpoint that cannot be written completely (file size limit)",
                  storage.full_disk),
    "worker": Drill("kill -9 of one of two processes under torchrun", processes.worker_dies),
    "worker_save": Drill("kill -9 of rank 1 between its part of a checkpoint and rank 0's file",
                         processes.worker_dies_in_a_save),
    "all_reduce": Drill("the connections of rank 1 cut in a step: its all-reduce fails",
                        processes.all_reduce_fails),
    "raises": Drill("an exception in one of two processes", processes.process_raises),
    "hosts": Drill("one of two hosts (network namespaces) cut off and brought back",
                   hosts.host_cut_off),
    "versions": Drill("a run begun with another torch, and back", versions.other_torch),
    "chaos": Drill("ckpt-chaos: killed at each file event in four ways, at most {points} of them",
                   chaos.killed_at_file_events),
    "chaos_two": Drill("the same with rank 0 of two processes",
                       chaos.killed_at_file_events_of_two),
}


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.maintainer.fault_drill",
        description="Break training runs on purpose and check that they recover.",
        epilog="Exit status: 0 each run recovered, 1 one did not, 2 an invalid flag or file.",
    )
    parser.add_argument("--only", nargs="+", choices=tuple(DRILLS), default=list(DRILLS),
                        help="drills to run")
    parser.add_argument("--steps", type=positive_int, default=40, help="steps of each run")
    parser.add_argument("--times", type=positive_int, default=10,
                        help="kills of a run; a process that saves is killed twice as often")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the random moments at which something breaks")
    parser.add_argument("--chaos", type=Path, metavar="FOLDER",
                        help="folder that holds ckpt-chaos (pip install --target FOLDER "
                             f"ckpt-chaos=={chaos.VERSION}), for the drills of this name")
    parser.add_argument("--points", type=positive_int, default=1000,
                        help="kills by ckpt-chaos, evenly spread over the file events")
    parser.add_argument("--other_python", metavar="PYTHON",
                        help="interpreter of an environment with another torch, for the drill "
                             "versions")
    parser.add_argument("--doc", type=Path, metavar="FILE",
                        help="write the table into this document")
    return parser


def run_drills(args: Namespace) -> tuple[list[str], bool]:
    """Runs the drills.

    Returns:
        The rows of a Markdown table, and whether each run recovered.
    """
    rows, all_recovered = [], True
    with tempfile.TemporaryDirectory() as scratch:
        site = DrillSite(Path(scratch), args.steps, args.times, args.seed, chaos=args.chaos,
                         points=args.points, other_python=args.other_python)
        for name in args.only:
            fault = DRILLS[name].fault.format(times=args.times, twice=2 * args.times,
                                              points=args.points)
            start = time.monotonic()
            try:
                result = DRILLS[name].run(site)
            except SkippedDrill as skipped:
                result = f"skipped: {skipped}"
            except BrokenPromise as broken:
                result = f"NOT KEPT: {broken}"
                all_recovered = False
            seconds = time.monotonic() - start
            print(f"{name:10} {fault}\n{'':10} {result} ({seconds:.0f} s)", flush=True)
            rows.append(f"| {fault} | {result.splitlines()[0]} |")
    return rows, all_recovered


def write_table(path: Path, rows: Sequence[str]) -> None:
    """Replaces the table in a document. Raises ValueError if the document has no place for it."""
    host = run_folder.environment(torch.device("cpu"), "fp32", ())
    commit = (host["commit"] or "unknown")[:7]
    machine = (f"{time.strftime('%Y-%m-%d')}, commit {commit}, {host['device']}, "
               f"{os.cpu_count()} cores, no GPU, torch {host['torch']}:")
    lines = [machine, "", "| fault | how the run recovered |", "|---|---|", *rows]
    write_text(path, replace_between(path.read_text(), BEGIN, END, "\n".join(lines)))


def run(args: Namespace) -> int:
    """Runs the drills; returns 0, or 1 if a run did not recover."""
    rows, all_recovered = run_drills(args)
    if args.doc:
        write_table(args.doc, rows)
    return 0 if all_recovered else FAILED


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.fault_drill", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
