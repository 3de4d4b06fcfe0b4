"""Writes results/README.md from the runs in results/runs/.

`--readme README.md` also writes what was found into the README. `--add logs/NAME --study STUDY`
adds a run.
"""
from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tools.maintainer.results import readme, results_page, studies
from tools.maintainer.results.keep import keep
from utils.cli import FlagParser, add_switch, run_program
from utils.files import write_text


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.results",
                        description="Write the page of results from the runs that are kept, or "
                                    "keep a finished and scored run.")
    parser.add_argument("--runs", type=Path, default=studies.RUNS, help="folder of the studies")
    parser.add_argument("--out", type=Path,
                        help="page to write (default: results.md beside the folder of the studies)")
    parser.add_argument("--readme", type=Path, metavar="FILE",
                        help="also write the sentences of the studies that decide a claim into "
                             f"this page, between {readme.BEGIN} and {readme.END}")
    adding = parser.add_argument_group("Keeping a run")
    adding.add_argument("--add", type=Path, nargs="+", metavar="RUN",
                        help="folders of runs whose small files are kept; the page is then not "
                             "written")
    adding.add_argument("--study", help="name of the study to which the runs belong")
    adding.add_argument("--label",
                        help="row of the study (default: LABEL, if the run's name is LABEL_sSEED)")
    adding.add_argument("--evaluation", type=Path, metavar="FOLDER",
                        help="output folder of eval.py (default: the only one in the run's folder)")
    adding.add_argument("--started", type=_date, metavar="DATE",
                        help="date of the run's start, if its env.json has none (default: time of "
                             "its args.json)")
    add_switch(adding, "--replace", default=False,
               help="replace a run that is kept under the same name")
    return parser


def run(args: Namespace) -> None:
    """Keeps runs, or writes the page.

    Raises:
        ValueError, OSError: a run or a study is invalid, or a file cannot be read or written.
    """
    for folder in args.add or ():
        kept = keep(folder, args.runs / args.study, args.label, args.evaluation, args.started,
                    args.replace)
        print(f"{folder} is kept in {kept}")
    if args.add:
        return
    all_studies = studies.read_all(args.runs)
    out = args.out or args.runs.parent / "README.md"
    write_text(out, results_page.write(all_studies))
    if args.readme:
        readme.write_claims(args.readme, results_page.claims(all_studies))
    runs = {run.folder for study in all_studies for run in study.runs}
    print(f"{out}: {len(runs)} runs of {len(all_studies)} studies")


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if bool(args.add) != bool(args.study):
        parser.error("--add RUN and --study NAME go together")
    if args.evaluation and len(args.add or ()) != 1:
        parser.error("--evaluation belongs to one run: give one with --add")
    return run_program("tools.maintainer.results", lambda: run(args))


def _date(text: str) -> str:
    """Checks that the text is a date in ISO format; returns it."""
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write it as 2026-11-23"
                                         ) from error
    return text


if __name__ == "__main__":
    sys.exit(main())
