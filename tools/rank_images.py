"""Ranks unlabeled images by uncertainty: `python -m tools.rank_images --input ... --out FOLDER`.

The images that come first are those whose labels would teach a network most.
"""
from __future__ import annotations

import csv
import io
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

import datasets
from eval import LoadedModel, load_from_options
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import SnapshotOptions, snapshot_path
from tools.demo.inputs import Input, find_inputs, is_clip
from utils import precision as precision_flags
from utils.cli import FlagParser, int_from_0, run_program
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import InferenceOptions
from utils.files import make_folder, write_bytes
from utils.logs import track
from utils.precision import PrecisionOptions
from utils.visualization import confidence, label_maps

log = logging.getLogger("rank_images")

# uncertainty of an image -> its definition, for the help
UNCERTAINTIES = {
    "entropy": "mean entropy of a pixel, from 0 to 1",
    "margin": "mean of 1 - margin between the two most probable classes",
    "disagreement": "share of the pixels to which two snapshots give different classes",
}
RANKING, SHEET = "ranking.csv", "sheet.jpg"
THUMBNAIL = (180, 320)


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.rank_images",
        description="Rank images without labels by a network's uncertainty: what to label next.",
        epilog="Exit status: 0 all images are ranked, 1 an image was skipped, 2 an invalid flag or "
        "file.")
    group = parser.add_argument_group("Images")
    group.add_argument("--input", nargs="+", required=True, metavar="INPUT",
                       help="images, and folders of them (without their subfolders)")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                       help=f"gets {RANKING}, the most uncertain first, and {SHEET}")
    group.add_argument("--by", choices=list(UNCERTAINTIES),
                       help="; ".join(f"{name}: {text}" for name, text in UNCERTAINTIES.items())
                       + " (default: entropy, or disagreement with --compare)")
    group.add_argument("--compare", type=snapshot_path, metavar="FILE",
                       help="a second snapshot of the same classes, for the disagreement")
    group.add_argument("--top", type=int_from_0, default=24,
                       help=f"images on {SHEET}; 0 writes none")
    group.add_argument("--dataset", help="classes; default: the snapshot's")
    snapshot_flags.add_flags(parser)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    return parser


@dataclass(frozen=True)
class Options:
    """What is ranked; the fields are the flags of the same name.

    Raises:
        ValueError: the disagreement is asked for without a second snapshot.
    """

    input: Sequence[str]
    out: Path
    by: str
    compare: Path | None
    top: int
    dataset: str | None
    snapshot: SnapshotOptions
    inference: InferenceOptions
    precision: PrecisionOptions

    def __post_init__(self) -> None:
        if self.by == "disagreement" and self.compare is None:
            raise ValueError("--by disagreement compares two snapshots: name the second one with "
                             "--compare")

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        by = args.by or ("disagreement" if args.compare else "entropy")
        return cls(input=args.input, out=args.out, by=by, compare=args.compare, top=args.top,
                   dataset=args.dataset, snapshot=SnapshotOptions.from_args(args),
                   inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args))


class Ranked(NamedTuple):
    """An image and its uncertainties, each in [0, 1]."""

    name: str
    path: Path
    uncertainties: dict[str, float]


def load(options: Options) -> list[LoadedModel]:
    """Returns the network, and the one to compare it with.

    Raises:
        ValueError, OSError: a snapshot or a flag is invalid, or the two have different classes.
    """
    return load_from_options(options.snapshot, options.precision, options.inference,
                             dataset=options.dataset, compare=options.compare)


def uncertainty_maps(models: Sequence[LoadedModel], image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns name of `UNCERTAINTIES` -> map (H, W) float32 in [0, 1] of an image (H, W, 3).

    The disagreement is there with two networks.
    """
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    labels, maps = models[0].predictor.confidence(batch, ("entropy", "margin"))
    uncertainties = {"entropy": maps["entropy"][0], "margin": 1 - maps["margin"][0]}
    if len(models) == 2:
        others = models[1].predictor.labels(batch)
        uncertainties["disagreement"] = (labels != others)[0].float()
    return {name: values.cpu().numpy() for name, values in uncertainties.items()}


def rank(models: Sequence[LoadedModel], images: Mapping[str, Path], by: str
         ) -> tuple[list[Ranked], int]:
    """Predicts every image; keeps its mean uncertainties only.

    Returns:
        The images, the most uncertain first, and the number of those that could not be read.
    """
    ranked, skipped = [], 0
    for name, path in track(images.items(), len(images), "images"):
        try:
            image = datasets.read_image(path, upright=True)
        except datasets.DatasetError as error:
            log.warning("skipped: %s", error)
            skipped += 1
            continue
        means = {measure: float(values.mean())
                 for measure, values in uncertainty_maps(models, image).items()}
        ranked.append(Ranked(name, path, means))
    return sorted(ranked, key=lambda entry: (-entry.uncertainties[by], entry.name)), skipped


def write_ranking(path: Path, ranked: Sequence[Ranked]) -> None:
    """Writes the table: rank, path, and each uncertainty."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["rank", "path", *ranked[0].uncertainties])
    for number, entry in enumerate(ranked, start=1):
        values = [f"{value:.6f}" for value in entry.uncertainties.values()]
        writer.writerow([number, str(entry.path), *values])
    write_bytes(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def contact_sheet(models: Sequence[LoadedModel], ranked: Sequence[Ranked], by: str) -> np.ndarray:
    """Returns the images in their order, each beside the map of its uncertainty, light for high."""
    titled: list[tuple[str, np.ndarray]] = []
    for number, entry in enumerate(ranked, start=1):
        image = datasets.read_image(entry.path, upright=True)
        values = uncertainty_maps(models, image)[by]
        titled += [(f"{number} {entry.name}", _thumbnail(image)),
                   (f"{by} {entry.uncertainties[by]:.3f}", _thumbnail(confidence.colors(values)))]
    return label_maps.panels(titled, columns=min(4, len(titled)))


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    """Returns a picture within `THUMBNAIL`, with margins that fill it."""
    height, width = THUMBNAIL
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    return cv2.copyMakeBorder(small, top, height - size[1] - top, left, width - size[0] - left,
                              cv2.BORDER_CONSTANT, value=label_maps.BACKGROUND)


def _images(inputs: Mapping[str, Input]) -> Iterator[tuple[str, Path]]:
    """Yields the images. Raises ValueError for a video, a camera or a pipe."""
    for name, source in inputs.items():
        if is_clip(source) or not isinstance(source, Path):
            raise ValueError(f"--input {source} is a sequence of frames: give images, which "
                             "ffmpeg -i VIDEO FOLDER/%06d.png writes")
        yield name, source


def run(args: Namespace) -> int:
    """Ranks the images; returns 0, or 1 if one was skipped.

    Raises:
        ValueError, OSError: a snapshot, an input or a flag is invalid, or no image can be read.
    """
    options = Options.from_args(args)
    images = dict(_images(find_inputs(options.input)))
    models = load(options)
    ranked, skipped = rank(models, images, options.by)
    if not ranked:
        raise ValueError(f"none of the {len(images)} images can be read")
    make_folder(options.out, "--out")
    write_ranking(options.out / RANKING, ranked)
    if options.top:
        sheet = contact_sheet(models, ranked[:options.top], options.by)
        label_maps.write(options.out / SHEET, sheet)
    for number, entry in enumerate(ranked[:5], start=1):
        log.info("%d. %s, %s %.3f", number, entry.path, options.by, entry.uncertainties[options.by])
    log.info("%d images by %s in %s; %d skipped", len(ranked), options.by, options.out / RANKING,
             skipped)
    return 1 if skipped else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.rank_images", lambda: run(args),
                       less_memory=inference_flags.LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
