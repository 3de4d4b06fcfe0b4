"""Reports on runs and evaluations: `python -m tools.report logs/NAME` writes a page to open."""
from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from tools.report import comparison, curves, evaluation, robustness
from utils.cli import FlagParser, run_program

# flag that asks for a report -> its module: `add_flags(kinds)`, and `run(args)`, which returns a
# message
KINDS = {"folder": evaluation, "compare": comparison, "curves": curves,
         "corruptions": robustness}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.report",
                        description="Report on what runs logged, and on evaluations.")
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind in KINDS.values():
        kind.add_flags(kinds)
    evaluation.add_options(parser)
    parser.add_argument("--out", type=Path, help="file to write, instead of the default one")
    return parser


def run(args: Namespace) -> None:
    kind = next(module for flag, module in KINDS.items() if getattr(args, flag))
    print(kind.run(args))


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.report", lambda: run(args), extra="report")


if __name__ == "__main__":
    sys.exit(main())
