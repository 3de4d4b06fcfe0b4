"""Puts the shares of an evaluation together: `python -m tools.merge FOLDER [FOLDER ...]`."""
from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from utils.cli import FlagParser
from utils.evaluation import scores
from utils.evaluation.records import Record, Records, differences
from utils.logs import start_logging

log = logging.getLogger(__name__)


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.merge", description="Put together what `eval.py --split_index I "
                        "--split_count N` found: in one folder, or in several that were copied from several machines.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="output folders of eval.py; the scores "
                        "go to the first")
    scores.add_flags(parser)
    return parser


def merge(folders: Sequence[Path]) -> tuple[Records, list[Record]]:
    """Reads the shares of one evaluation, and leaves them in the first folder as one.

    Raises:
        FileNotFoundError: a folder is no output folder.
        ValueError: the folders hold two evaluations, or not all images are there.
    """
    records, *others = map(Records.open, folders)
    found = records.read()
    for other in others:
        different = differences(other.run, records.run)
        if different:
            raise ValueError(f"{other.folder} holds another evaluation than {records.folder} ({'; '.join(different)}).")
        found |= other.read()
    missing = sorted({*range(records.run["images"])} - {*found})
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(f"{len(missing)} of {records.run['images']} images are missing (number {some}): run the other "
                         "shares first, or those that were interrupted once more with --resume.")
    ordered = [found[index] for index in sorted(found)]
    records.finish(ordered)
    return records, ordered


def run(args: Namespace) -> bool:
    """Merges, prints and writes; returns whether the score is the expected one."""
    records, found = merge(args.folders)
    if not records.run["labelled"]:
        log.info("%d images in %s; there is no truth to score them by.", len(found), records.folder)
        return True
    return scores.report_scores(records, found, args.json, args.expect, args.tolerance)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    try:
        return 0 if run(args) else 1
    except (ValueError, OSError) as error:
        log.error("tools.merge: error: %s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
