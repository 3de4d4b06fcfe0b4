"""Draws street scenes in the layout of Cityscapes: `python -m tools.make_streets --out DIR`."""
from __future__ import annotations

import os
import shlex
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2

from tools.make_streets.scene import SMALLEST
from tools.make_streets.writing import SPLITS, make_streets
from utils.cli import FlagParser, positive_int, run_program, seed, size


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.make_streets", description=__doc__)
    group = parser.add_argument_group("Scenes")
    group.add_argument("--out", type=Path, required=True,
                       help="folder to write; a run that was interrupted is continued")
    group.add_argument("--train", type=positive_int, default=1000, help="scenes to train on")
    group.add_argument("--val", type=positive_int, default=100,
                       help="scenes to validate on; none is a training scene")
    group.add_argument(
        "--test", type=positive_int, help="scenes without labels, to practice a submission")
    group.add_argument("--size", type=_scene_size, default="256x512", metavar="HxW",
                       help="height and width in pixels")
    group.add_argument("--seed", type=seed, default=0, help="another seed draws other scenes")
    group.add_argument(
        "--workers", type=positive_int, default=os.cpu_count() or 1, help="processes that draw")
    return parser


def _scene_size(text: str) -> tuple[int, int]:
    height, width = size(text)
    if min(height, width) < SMALLEST:
        raise ArgumentTypeError(f"a street scene needs at least {SMALLEST}x{SMALLEST} pixels, not "
                                f"{height}x{width}")
    return height, width


def run(args: Namespace) -> None:
    """Draws the scenes. Raises StreetsError if they cannot be written."""
    start = time.monotonic()
    counts = {split: getattr(args, split) for split in SPLITS if getattr(args, split)}
    drawn = make_streets(args.out, counts, args.size, args.seed, args.workers)
    seconds = time.monotonic() - start
    progress = "all existed already"
    if drawn:
        progress = f"{drawn} drawn in {seconds:.0f} s, {drawn / seconds:.0f} per second"
    print(f"{args.out}: {args.train} scenes to train on, {args.val} to validate on ({progress}).\n"
          "Train on them: sh scripts/train/train_streets_sfnet_dfv1.sh --data_root "
          f"{shlex.quote(str(args.out))}")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    # before any fork; each process draws on one core
    cv2.setNumThreads(0)
    return run_program("tools.make_streets", partial(run, args),
                       resume="run the same command again, which continues where it stopped")


if __name__ == "__main__":
    sys.exit(main())
