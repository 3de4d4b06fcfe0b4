"""Measures what can be measured of this code: `python -m tools.benchmark NAME [flags]`."""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tools.benchmarks import models, train
from utils.flags import FlagParser


class Benchmark(NamedTuple):
    """A row of the table: `run(args)` reads the flags that `add_flags(parser)` declares, and prints what it found."""

    help: str
    add_flags: Callable[[FlagParser], None]
    run: Callable[[Any], None]


BENCHMARKS = {
    "models": Benchmark("parameters, multiply-accumulates and activations of networks", models.add_flags, models.run),
    "train": Benchmark("images a second of training, against a plain loop", train.add_flags, train.run),
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.benchmark", description="Measure networks and programs.")
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name, benchmark in BENCHMARKS.items():
        benchmark.add_flags(commands.add_parser(name, help=benchmark.help, description=benchmark.help))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        BENCHMARKS[args.benchmark].run(args)
    except (ValueError, OSError, ImportError) as error:
        print(f"tools.benchmark: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
