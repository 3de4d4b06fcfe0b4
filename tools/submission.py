"""Packs label ids for a benchmark's server and checks them: `python -m tools.submission --ids FOLDER ...`.

`eval.py --dump_images` does this by itself for a split without labels.
"""
from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import datasets
from utils.cli import FlagParser
from utils.evaluation import submission


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.submission", description="Pack the label ids of a split for a "
                        "benchmark's server, and check count, names, sizes and ids.")
    datasets.add_flags(parser, training=False)
    parser.add_argument("--ids", type=Path, required=True, metavar="FOLDER",
                        help="label_ids/ in the output folder of eval.py --dump_images")
    parser.add_argument("--out", type=Path, metavar="FILE", help="zip file to write (default: submission.zip beside)")
    parser.set_defaults(split="test")
    return parser


def run(args: Namespace) -> None:
    """Packs and checks. Raises ValueError or OSError when the server would refuse it."""
    if args.dataset is None:
        raise ValueError("name the --dataset whose images these are.")
    data = datasets.build(args.dataset, args.data_root, args.split)
    images = {sample.name: sample.image for sample in data.samples[:args.max_images]}
    out = args.out or args.ids.parent / "submission.zip"
    count = submission.pack(images, args.ids, out, data.spec.to_raw_ids[:data.spec.num_classes], datasets.read_image)
    print(f"{out}: {count} files; their names, sizes and ids are those of {data.spec.title} {data.split}")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"tools.submission: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
