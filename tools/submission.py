"""Writes label ids for a benchmark's server: `python -m tools.submission --ids FOLDER ...`.

`eval.py --dump_images` does this by itself for a split without labels.
"""
from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from datasets import EvalDataOptions
from eval import write_submission
from utils.cli import FlagParser, run_program


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.submission",
                        description="Write the label ids of a split as a zip file for a "
                                    "benchmark's server; check number, names, sizes and ids.")
    datasets.add_flags(parser, training=False)
    parser.add_argument("--ids", type=Path, required=True, metavar="FOLDER",
                        help="label_ids/ in the output folder of eval.py --dump_images")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="zip file to write (default: submission.zip beside the folder)")
    parser.set_defaults(split="test")
    return parser


@dataclass(frozen=True)
class SubmissionOptions:
    """Which label ids are written, and where.

    Args:
        label_ids: folder that `--dump_images` wrote.
        out: zip file.
    """

    data: EvalDataOptions
    label_ids: Path
    out: Path

    def __post_init__(self) -> None:
        if self.data.dataset is None:
            raise ValueError("name the --dataset that the images belong to.")

    @classmethod
    def from_args(cls, args: Namespace) -> SubmissionOptions:
        """Reads the flags of `build_parser`."""
        return cls(EvalDataOptions.from_args(args), args.ids,
                   args.out or args.ids.parent / "submission.zip")


def run(options: SubmissionOptions) -> None:
    """Writes the file and checks it. Raises ValueError or OSError if a server would reject it."""
    assert options.data.dataset is not None                 # the flag is required
    data = datasets.build(options.data.dataset, options.data.data_root, options.data.split)
    write_submission(data, options.label_ids, options.out, options.data.max_images)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.submission", lambda: run(SubmissionOptions.from_args(args)))


if __name__ == "__main__":
    sys.exit(main())
