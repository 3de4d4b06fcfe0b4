"""The flags of eval.py that belong to no other package, and the options they become."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from utils.cli import add_switch, positive_int
from utils.evaluation import scores, trimap
from utils.visualization.reliability import require_matplotlib

# flag of the reference implementation -> its successor
RETIRED = {
    "--dataset_dir": "--data_root", "--single_scale": "--scales 1.0", "--exp_name": "--ckpt_path",
    "--dataset_cls": "--dataset", "--trunk": "--arch", "--inference_type": "--inference_mode",
    "--local_rank": "torchrun, which tells each process its rank",
}


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How the images of a split are shared among runs of a program.

    Args:
        resume: go on with the results in the output folder.
        shard_index, shard_count: predict every shard_count-th image from shard_index on
            (`--split_index`, `--split_count`).

    Raises:
        ValueError: the index of the shard is out of range.
    """

    resume: bool = False
    shard_index: int = 0
    shard_count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.shard_index < self.shard_count:
            raise ValueError(f"--split_index {self.shard_index} is out of range: the shards of "
                             f"--split_count {self.shard_count} are numbered from 0 to "
                             f"{self.shard_count - 1}.")

    @property
    def shard(self) -> tuple[int, int]:
        """(index, count) of the shard."""
        return self.shard_index, self.shard_count


@dataclass(frozen=True, kw_only=True)
class EvalOptions(ShardOptions):
    """How an evaluation is split, resumed and written.

    Args:
        fuse: evaluate the network as the demo, the app and exports run it (`--deployed`).
        dump_images: write pictures of each image.
        report: write the HTML page.
        calibration: compare the probabilities with the share of right pixels.
        trimap: also score the pixels within this distance of a class border, in pixels, and the
            others; None for all pixels together only.
        folder: output folder; beside the snapshot when None (`--ckpt_path`).

    Raises:
        ValueError: the index of the shard or the width of the trimap is out of range, or matplotlib
            is missing for `calibration`.
    """

    fuse: bool = False
    dump_images: bool = False
    report: bool = False
    calibration: bool = False
    trimap: int | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trimap is not None and self.trimap > trimap.MOST_WIDTH:
            raise ValueError(f"--trimap {self.trimap} is wider than any published one, and takes "
                             f"long: give 1 to {trimap.MOST_WIDTH} pixels")
        if self.calibration:
            # now, before any work is done
            require_matplotlib("--calibration")

    @classmethod
    def from_args(cls, args: Namespace) -> EvalOptions:
        """Reads the flags of `add_flags`."""
        return cls(fuse=args.deployed, resume=args.resume, shard_index=args.split_index,
                   shard_count=args.split_count, dump_images=args.dump_images, report=args.report,
                   calibration=args.calibration, trimap=args.trimap, folder=args.ckpt_path)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of `EvalOptions`, and those of `scores.ScoreOptions` beside them."""
    add_switch(parser.add_argument_group("Network"), "--deployed", default=False,
               help="evaluate the network as the demo, the app and exports run it: normalization "
                    "folded into convolutions")
    add_shard_flags(parser, together="`python -m tools.merge` merges the N shards")
    output = parser.add_argument_group("Output")
    scores.add_flags(output)
    add_switch(output, "--dump_images", default=False,
               help="write color masks, overlays, label ids and panels; for a split without labels "
                    "also a zip file for its benchmark's server")
    add_switch(output, "--report", default=False,
               help="write a page with scores and images, report/index.html in the run's folder "
                    "(needs: pip install '.[report]')")
    add_switch(output, "--calibration", default=False,
               help="score how well probabilities fit: expected calibration error, reliability "
                    "diagram, and the share of the pixels that holds 90 %% of the errors (needs: "
                    "pip install '.[report]')")
    output.add_argument("--trimap", type=positive_int, metavar="PIXELS",
                        help="also score the pixels within this distance of a class border, at "
                             f"most {trimap.MOST_WIDTH}, the others, and thin and large classes")
    output.add_argument("--ckpt_path", type=Path, metavar="FOLDER",
                        help="output folder (default: eval_DATASET_SPLIT beside the snapshot, and "
                             "eval_DATASET_SPLIT_firstN with --max_images N)")


def add_shard_flags(parser: ArgumentParser, together: str) -> None:
    """Declares the flags of `ShardOptions`.

    Args:
        together: how the results of all shards become one, for the help.
    """
    group = parser.add_argument_group("Sharding and resuming")
    add_switch(group, "--resume", default=False,
               help="go on with the results of the same command in the output folder")
    group.add_argument("--split_count", type=positive_int, default=1, metavar="N",
                       help=f"predict every N-th image only; {together}")
    group.add_argument("--split_index", type=int, default=0, help="index of the shard, from 0")
