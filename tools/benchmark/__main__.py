"""Measures networks and programs: `python -m tools.benchmark NAME [flags]`."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from tools.benchmark import (
    evaluation,
    infer,
    loader,
    losses,
    memory,
    models,
    pseudo_label,
    sampling,
    train,
)
from tools.benchmark.machine import command as machine
from utils.cli import Command, FlagParser, run_program

BENCHMARKS = {
    "eval": Command("seconds of each part of an evaluation",
                    evaluation.add_flags, evaluation.run),
    "models": Command("parameters, multiply-accumulates and activations of networks",
                      models.add_flags, models.run),
    "infer": Command("latency and memory of predictions, against the plain network",
                     infer.add_flags, infer.run),
    "losses": Command("time and memory of the criteria, beside torch's cross entropy",
                      losses.add_flags, losses.run),
    "loader": Command("time of each stage of a training sample, and speed of the loader",
                      loader.add_flags, loader.run),
    "pseudo_label": Command("time of pseudo-labels for an image, beside the predictor's",
                            pseudo_label.add_flags, pseudo_label.run),
    "sampling": Command("time of class-uniform sampling, and the classes in its crops",
                        sampling.add_flags, sampling.run),
    "machine": Command("what this machine does: rates, training, inference, hours of a run",
                       machine.add_flags, machine.run),
    "memory": Command("memory of a training step on a GPU, computed without one",
                      memory.add_flags, memory.run),
    "train": Command("images per second of training, against a plain loop",
                     train.add_flags, train.run),
}
LESS_MEMORY = "smaller or fewer images (--size, --batch, --crop_size, --bs_mult)"


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.benchmark",
                        description="Measure networks and programs.")
    parser.add_commands(BENCHMARKS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.benchmark", lambda: BENCHMARKS[args.command].run(args),
                       less_memory=LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
