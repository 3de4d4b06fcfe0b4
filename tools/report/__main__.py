"""Shows what runs logged and evaluations found: `python -m tools.report logs/NAME` writes a page to look at."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.report import comparison, curves, evaluation
from utils.cli import FlagParser

# the flag that asks for a report -> its module: `add_flags(kinds)`, and `run(args)`, which returns what to say
KINDS = {"folder": evaluation, "compare": comparison, "curves": curves}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="tools.report", description="Show what runs logged and evaluations found.")
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind in KINDS.values():
        kind.add_flags(kinds)
    evaluation.add_options(parser)
    parser.add_argument("--out", type=Path, help="file to write, in place of the usual one")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    chosen = next(kind for flag, kind in KINDS.items() if getattr(args, flag))
    try:
        print(chosen.run(args))
    except ImportError as error:
        print(f"tools.report: error: {error}: reports need pip install '.[report]'", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"tools.report: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
