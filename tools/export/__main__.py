"""Exports a trained network and checks the file in its own runtime: `python -m tools.export
--snapshot FILE ...`.
"""
from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import datasets
from datasets.spec import DatasetSpec
from network import fuse_for_inference
from network.checkpoints import snapshot
from network.checkpoints.snapshot import Snapshot
from tools.export import int8
from tools.export.formats import FORMATS, OPSETS, Format, Metadata, Request, Run, first_line
from tools.export.graph import (
    EXACT,
    INPUTS,
    INT8,
    OUTPUTS,
    SMALLEST,
    Graph,
    Tolerance,
    compare,
    program,
)
from tools.export.scores import require_size, score
from utils import files
from utils.cli import FlagParser, add_switch, positive_int, run_program, size
from utils.logs import start_logging

log = logging.getLogger("export")

# of those that an int8 file was calibrated on
CHECKED_PICTURES = 4


class OutOfTolerance(ValueError):
    """The exported file computes something else than the network."""


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.export", description="Export a trained network, and check the file."
    )
    snapshot.add_flags(parser)
    group = parser.add_argument_group("Export")
    group.add_argument(
        "--format", choices=FORMATS, required=True,
        help="onnx; onnx-gather for runtimes without GridSample; pt2, a torch.export program; "
        "aoti, a compiled package (needs a C++ compiler)",
    )
    group.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="new file, .onnx or .pt2"
    )
    group.add_argument("--size", type=size, default="1024x2048", help="HEIGHTxWIDTH of the images")
    add_switch(
        group, "--dynamic", default=False,
        help="leave batch, height and width open; --size is then an example",
    )
    group.add_argument("--opset", type=int, choices=OPSETS, default=18, help="of ONNX")
    group.add_argument("--input", choices=INPUTS, default="normalized",
                       help="float32 (RGB / 255 - mean) / std, or uint8 RGB, normalized inside")
    group.add_argument("--output", choices=OUTPUTS, default="labels",
                       help="int32 train ids, or float32 logits at the images' size")
    group.add_argument(
        "--dataset", help="classes and colors for the metadata; default: the snapshot's"
    )
    data = parser.add_argument_group("Int8 and scores")
    add_switch(
        data, "--int8", default=False,
        help="ONNX with convolutions in 8 bits, calibrated on training images "
        "of --data_root, resized to --size",
    )
    data.add_argument(
        "--calibration_images", type=positive_int, default=32, metavar="N",
        help="drawn from the training split",
    )
    data.add_argument(
        "--score", metavar="SPLIT",
        help="print the mIoU of the network and of the file on this split, "
        "its images at their own size",
    )
    data.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    return parser


def metadata(args: Namespace, trained: Snapshot, spec: DatasetSpec) -> dict[str, str]:
    """Returns what goes into the file, each value as JSON."""
    facts = {
        "arch": trained.arch, "dataset": spec.name, "classes": list(spec.names),
        "palette": spec.palette.tolist(), "mean": list(spec.mean), "std": list(spec.std),
        "input": args.input, "output": args.output, "size": list(args.size),
        "dynamic": args.dynamic, "precision": "int8" if args.int8 else "float32",
        "commit": files.commit(), "torch": torch.__version__,
    }
    return {name: json.dumps(value) for name, value in facts.items()}


def check(
    graph: Graph, row: Format, run: Run, name: str, batches: Iterable[Tensor], tolerance: Tolerance
) -> None:
    """Compares the file with the network on batches of images.

    Raises:
        OutOfTolerance: the file does not run, too many labels differ, or a logit by too much.
    """
    for images in batches:
        height, width = images.shape[-2:]
        with torch.inference_mode():
            expected = graph.logits(images)
            try:
                found = run(images)
            except Exception as error:
                # a program's guards are assertions; a runtime has its own
                raise OutOfTolerance(
                    f"{name} does not run at {height}x{width} ({first_line(error)}): it was not "
                    "kept. Try a larger --size, or a fixed one."
                ) from error
        difference = compare(expected, found)
        log.info(
            "%dx3x%dx%d in %s: largest difference of logits %.1e of the largest, %.3f %% equal "
            "labels",
            len(images), height, width, row.runtime, difference.largest, 100 * difference.equal,
        )
        if not difference.within(tolerance):
            hint = "more --calibration_images, or leave --int8 out" if tolerance is INT8 else (
                "another --opset or --format, or a fixed size")
            raise OutOfTolerance(
                f"{name} differs from the network at {height}x{width} by more than is tolerable: "
                f"it was not kept. Try {hint}."
            )


def opened(row: Format, path: Path, expected: Metadata) -> Run:
    """Reads the file back. Raises OutOfTolerance when the runtime refuses it or metadata is
    missing.
    """
    try:
        run, found = row.open(path)
    except Exception as error:
        # each runtime has errors of its own
        raise OutOfTolerance(
            f"{row.runtime} refuses what torch {torch.__version__} wrote ({first_line(error)}): it "
            "was not kept. Try a newer torch, a fixed size or another --format."
        ) from error
    if any(found.get(name) != value for name, value in expected.items()):
        raise OutOfTolerance(f"{path.name}: the metadata is not what was written")
    return run


def second_size(args: Namespace) -> tuple[int, int]:
    """Returns the (height, width) at which a file of open sizes is checked, too."""
    height, width = args.size
    return max(2 * SMALLEST, height * 3 // 4 + 1), max(2 * SMALLEST, width // 2 + 1)


def examples(graph: Graph, args: Namespace) -> Iterator[Tensor]:
    """Yields smooth pictures, of a second size and batch where they are open."""
    yield graph.example(args.size)
    if args.dynamic:
        yield graph.example(second_size(args), batch=2)


def training_images(graph: Graph, data: datasets.SegmentationDataset, count: int,
                    side: tuple[int, int]) -> Iterator[Tensor]:
    """Yields the images to calibrate on, as the graph takes them, resized to (height, width)."""
    for index in int8.chosen(count, len(data)):
        image = (
            torch.from_numpy(datasets.read_image(data.samples[index].image))
            .permute(2, 0, 1)[None]
            .float()
        )
        yield graph.taken(F.interpolate(image, size=side, mode="bilinear", antialias=True))


def calibrated_on(
    graph: Graph, data: datasets.SegmentationDataset, args: Namespace
) -> Iterator[Tensor]:
    """Yields the first of the images to calibrate on; where sizes are open, once more at a second
    one, as a batch.
    """
    yield from islice(
        training_images(graph, data, args.calibration_images, args.size), CHECKED_PICTURES
    )
    if args.dynamic:
        again = training_images(graph, data, args.calibration_images, second_size(args))
        yield torch.cat([*islice(again, CHECKED_PICTURES)])


class Splits(NamedTuple):
    """What an export reads: images to calibrate on, and a labelled split to be scored; None where
    not asked for.
    """

    calibrated: datasets.SegmentationDataset | None
    scored: datasets.SegmentationDataset | None


def splits(args: Namespace, spec: DatasetSpec) -> Splits:
    """Returns the training split where it is calibrated on, whether or not it has labels, and the
    one to be scored.

    Raises:
        ValueError, FileNotFoundError: flags that do not go together, or images that are not there
            or do not fit.
    """
    if args.int8 and args.format not in int8.FORMATS:
        raise ValueError(
            f"--int8 writes ONNX: give --format {' or '.join(int8.FORMATS)}, not {args.format}"
        )
    if (args.data_root is not None) and not (args.int8 or args.score):
        raise ValueError(
            "--data_root is read by --int8 and --score only: give one of them, or leave it out"
        )
    # nobody reads labels to calibrate
    bare = replace(spec, unlabeled=(int8.SPLIT,))
    calibrated = datasets.build(bare, args.data_root, int8.SPLIT) if args.int8 else None
    scored = datasets.build(spec, args.data_root, args.score) if args.score else None
    if scored is not None:
        if not scored.labeled:
            raise ValueError(
                f"--score {args.score}: {spec.title} has no labels of it, so there is nothing to "
                "score"
            )
        # the others are looked at when they are read
        if not args.dynamic:
            image = datasets.read_image(scored.samples[0].image)
            require_size(scored.samples[0].name, (image.shape[0], image.shape[1]), args.size)
    return Splits(calibrated, scored)


def export(args: Namespace) -> None:
    """Writes, checks and names the file.

    Raises:
        ValueError, OSError: a flag, the snapshot or the machine will not do, or the file is out of
            tolerance.
    """
    row = FORMATS[args.format]
    row.require()
    if args.out.suffix != row.suffix:
        raise ValueError(f"--out {args.out}: a file of --format {args.format} ends in {row.suffix}")
    beside = args.out.with_name(f"{args.out.stem}.unchecked{row.suffix}")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    except OSError as error:
        raise ValueError(
            f"--out {args.out} cannot be written ({error.strerror}): choose another folder"
        ) from error
    try:
        trained = Snapshot(args.snapshot, args.arch, args.weights)
        spec = datasets.spec(args.dataset or trained.dataset)
        data = splits(args, spec)
        graph = Graph(
            fuse_for_inference(trained.network(spec.name, spec.names)), spec.mean, spec.std,
            args.input, args.output,
        )
        facts = metadata(args, trained, spec)
        log.info(
            "%s: %s, %s weights, classes of %s", args.snapshot, trained.arch, trained.weights,
            spec.title,
        )
        traced = program(graph, args.size, args.dynamic, trained.arch)
        row.write(Request(graph, traced, facts, args.opset), beside)
        checked, tolerance = examples(graph, args), EXACT
        if data.calibrated is not None:
            int8.quantize(
                beside, training_images(graph, data.calibrated, args.calibration_images, args.size)
            )
            checked, tolerance = calibrated_on(graph, data.calibrated, args), INT8
        run = opened(row, beside, facts)
        check(graph, row, run, args.out.name, checked, tolerance)
        if data.scored is not None:
            found = score(graph, run, data.scored, None if args.dynamic else args.size)
            log.info(
                "%s %s, %d images: mIoU %.2f %% of the network in float32, %.2f %% of the file, "
                "%+.2f points; %.3f %% equal labels",
                spec.name,
                args.score,
                len(data.scored),
                100 * found.network,
                100 * found.file,
                100 * (found.file - found.network),
                100 * found.equal,
            )
        beside.replace(args.out)
    finally:
        beside.unlink(missing_ok=True)
    height, width = args.size
    sides = "any batch and size" if args.dynamic else f"1x3x{height}x{width}"
    log.info(
        "%s: %s, %s -> %s, %s bytes", args.out, sides, args.input, args.output,
        f"{args.out.stat().st_size:,}",
    )


def run(args: Namespace) -> int:
    """Exports; returns 0, or 1 if the file computes something else than the network."""
    try:
        export(args)
    except OutOfTolerance as error:
        log.error("tools.export: error: %s", error)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging()
    # both log a line for each node that they rewrite
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return run_program("tools.export", lambda: run(args), resume="nothing was written")


if __name__ == "__main__":
    sys.exit(main())
