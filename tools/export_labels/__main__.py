"""Predicts labels to correct: `python -m tools.export_labels FORMAT --snapshot FILE ...`."""
from __future__ import annotations

import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import datasets
from eval import load_from_options
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import SnapshotOptions
from tools.demo.inputs import find_inputs, is_clip
from tools.export_labels.formats import FORMATS, Prediction
from utils import precision as precision_flags
from utils.cli import FlagParser, positive_int, run_program
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.predictor import Predictor
from utils.files import make_folder
from utils.logs import track
from utils.packages import require_package
from utils.precision import PrecisionOptions

log = logging.getLogger("export_labels")


def build_parser() -> FlagParser:
    formats = "; ".join(f"{name}: {row.help}" for name, row in FORMATS.items())
    parser = FlagParser(
        prog="python -m tools.export_labels",
        description="Write a network's predictions as labels of an annotation tool, to correct "
                    f"them there. FORMAT is {formats}. tools.import_labels reads them again.")
    parser.add_argument("format", choices=FORMATS, metavar="FORMAT",
                        help=f"one of {', '.join(FORMATS)}")
    group = parser.add_argument_group("Images")
    group.add_argument("--input", nargs="+", required=True, metavar="INPUT",
                       help="images, and folders of images (without their subfolders)")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                       help="gets the files of the tool; existing ones are not replaced")
    group.add_argument("--smallest", type=positive_int, default=16, metavar="PIXELS",
                       help="leave out regions of fewer pixels: the region around them covers them")
    snapshot_flags.add_flags(parser)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    return parser


@dataclass(frozen=True)
class Options:
    """What is predicted and written; the fields are the flags of the same name."""

    format: str
    input: Sequence[str]
    out: Path
    smallest: int
    snapshot: SnapshotOptions
    inference: InferenceOptions
    precision: PrecisionOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        """Reads the flags of `build_parser`."""
        return cls(format=args.format, input=args.input, out=args.out, smallest=args.smallest,
                   snapshot=SnapshotOptions.from_args(args),
                   inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args))


def find_images(names: Sequence[str]) -> dict[str, Path]:
    """Returns name -> image. Raises ValueError or OSError for other inputs."""
    images = {}
    for name, source in find_inputs(names).items():
        if is_clip(source) or not isinstance(source, Path):
            raise ValueError(f"--input {source} is no image: write the frames of a video as "
                             "images first, for example with ffmpeg.")
        images[name] = source
    return images


def check_new(names: Iterable[str], file: str, out: Path) -> None:
    """Raises ValueError if a file of labels exists: somebody may have corrected it.

    Args:
        file: see `Format`.
    """
    for name in names:
        path = out / file.format(name=name)
        if path.exists():
            raise ValueError(f"--out {out} holds {path.name} already, which may have been "
                             "corrected: name another folder, or remove the file.")


def predict(images: Mapping[str, Path], predictor: Predictor,
            upright: bool) -> Iterator[Prediction]:
    """Yields each image with its predictions. Raises DatasetError for a damaged image."""
    for name, path in track(images.items(), len(images), "images"):
        image = torch.from_numpy(datasets.read_image(path, upright=upright))
        label = predictor.labels(image.permute(2, 0, 1)[None])[0].cpu().numpy()
        yield Prediction(name, path, label)


def run(args: Namespace) -> None:
    """Predicts and writes. Raises ValueError or OSError if something is invalid."""
    options, output = Options.from_args(args), FORMATS[args.format]
    images = find_images(options.input)
    check_new(images, output.file, options.out)
    if options.format == "coco":
        # before the network is loaded
        require_package("pycocotools", needed_by="coco", extra="labels",
                        module="pycocotools.mask")
    [model] = load_from_options(options.snapshot, options.precision, options.inference)
    make_folder(options.out, "--out")
    output.write(predict(images, model.predictor, output.upright), model.spec, options.out,
                 options.smallest)
    log.info("%d images in %s; after correcting them: python -m tools.import_labels %s %s --images "
             "FOLDER --out DIR", len(images), options.out, options.format,
             shlex.quote(str(options.out)))


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.export_labels", lambda: run(args), extra="labels",
                       less_memory=inference_flags.LESS_MEMORY,
                       resume=f"finished files are in {args.out}; remove them to begin again")


if __name__ == "__main__":
    sys.exit(main())
