"""Merges the shards of an evaluation: `python -m tools.merge FOLDER [FOLDER ...]`."""
from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli import FlagParser, run_program
from utils.evaluation import scores
from utils.evaluation.records import Record, Records, differences
from utils.evaluation.scores import ScoreOptions

log = logging.getLogger(__name__)


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.merge",
                        description="Merge the results of `eval.py --split_index I --split_count N`"
                                    ", in one folder or in several from several machines.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER",
                        help="output folders of eval.py; the scores are written to the first")
    scores.add_flags(parser)
    return parser


def merge(folders: Sequence[Path]) -> tuple[Records, list[Record]]:
    """Merges the shards of one evaluation into the first folder.

    Returns:
        The records of the first folder, and the results of all images.

    Raises:
        FileNotFoundError: a folder is not the output folder of an evaluation.
        ValueError: the folders hold different evaluations, or results of images are missing.
    """
    records, *others = map(Records.open, folders)
    results = records.read()
    for other in others:
        changes = differences(other.run, records.run)
        if changes:
            raise ValueError(f"{other.folder} holds another evaluation than {records.folder} "
                             f"({'; '.join(changes)}).")
        results |= other.read()
    total = records.run["images"]
    missing = sorted({*range(total)} - {*results})
    if missing:
        listing = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(f"{len(missing)} of {total} images are missing (number {listing}): run "
                         "the other shards first, or interrupted ones again with --resume.")
    ordered = [results[index] for index in sorted(results)]
    records.merge_parts(ordered)
    return records, ordered


def run(folders: Sequence[Path], options: ScoreOptions) -> int:
    """Merges, prints and writes; returns 1 if the mean IoU is not the expected one, else 0."""
    records, results = merge(folders)
    if not records.run["labelled"]:
        log.info("%d images in %s; without labels there are no scores.", len(results),
                 records.folder)
        return 0
    return 0 if scores.report_scores(records, results, options) else 1


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.merge", lambda: run(args.folders, ScoreOptions.from_args(args)))


if __name__ == "__main__":
    sys.exit(main())
