"""Measures what can be measured of this code: `python -m tools.benchmark NAME [flags]`."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from tools.benchmark import evaluation, infer, loader, losses, models, sampling, train
from utils.cli import Command, FlagParser, run_program
from utils.logs import start_logging

BENCHMARKS = {
    "eval": Command(
        "where the seconds of scoring an image go", evaluation.add_flags, evaluation.run
    ),
    "models": Command(
        "parameters, multiply-accumulates and activations of networks", models.add_flags, models.run
    ),
    "infer": Command(
        "latency and memory of predictions, against the plain network", infer.add_flags, infer.run
    ),
    "losses": Command(
        "time and memory of the criteria, beside torch's cross entropy", losses.add_flags,
        losses.run,
    ),
    "loader": Command(
        "what a training sample costs, stage by stage, and whether loading keeps up with the steps",
        loader.add_flags, loader.run,
    ),
    "sampling": Command(
        "finding the points of class-uniform sampling, and what its crops show", sampling.add_flags,
        sampling.run,
    ),
    "train": Command(
        "images a second of training, against a plain loop", train.add_flags, train.run
    ),
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.benchmark",
                        description="Measure networks and programs.")
    parser.add_commands(BENCHMARKS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging()
    return run_program("tools.benchmark", lambda: BENCHMARKS[args.command].run(args))


if __name__ == "__main__":
    sys.exit(main())
