"""Exports a trained network and verifies the file: `python -m tools.export --snapshot FILE ...`."""
from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

import datasets
from datasets.spec import DatasetSpec
from eval import LoadedModel, load_predictor
from network.checkpoints import snapshot
from network.checkpoints.snapshot import Snapshot
from tools.export import int8
from tools.export.scores import require_size, score
from tools.export.verification import (
    OutOfTolerance,
    calibration_examples,
    examples,
    open_file,
    training_images,
    verify,
)
from utils import files
from utils.backends.formats import FORMATS, OPSETS, Format, Request
from utils.backends.graph import (
    EXACT,
    HALF,
    INPUTS,
    INT8,
    OUTPUTS,
    SMALLEST,
    ExportModule,
    Run,
    trace,
)
from utils.cli import FlagParser, add_switch, positive_int, run_program, size

log = logging.getLogger("export")

DEFAULT_SIZE = (1024, 2048)


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.export", description="Export a trained network, and verify the file.",
        epilog="Exit status: 0 the file was written, 1 it computes something else than the network "
               "and was not kept, 2 an invalid flag or file.")
    snapshot.add_flags(parser)
    group = parser.add_argument_group("Export")
    group.add_argument("--format", choices=FORMATS, required=True,
                       help="onnx; onnx-gather for runtimes without GridSample; openvino, for "
                            "Intel's runtime; pt2, a torch.export program; aoti, a compiled "
                            "package (needs a C++ compiler)")
    group.add_argument("--out", type=Path, required=True, metavar="FILE",
                       help="new file, .onnx, .xml (with a .bin beside it) or .pt2")
    group.add_argument("--size", type=size,
                       help="HEIGHTxWIDTH of the images; default: the crop size of the training, "
                            f"or {DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]} if the snapshot does not say")
    add_switch(group, "--dynamic", default=False,
               help="leave batch, height and width open; --size is then an example of them")
    group.add_argument("--opset", type=int, choices=OPSETS, default=18,
                       help="operator set version of ONNX")
    group.add_argument("--input", choices=INPUTS, default="normalized",
                       help="float32 (RGB / 255 - mean) / std, or uint8 RGB, normalized inside")
    group.add_argument("--output", choices=OUTPUTS, default="labels",
                       help="int32 train ids; float32 logits at the images' size; or coarse, "
                            "those at the network's stride, which --snapshot of demo, app and eval "
                            "takes")
    add_switch(group, "--compress_to_fp16", default=False,
               help="store the weights of an OpenVINO file in float16, which halves it")
    group.add_argument("--dataset",
                       help="classes and colors for the metadata; default: the snapshot's")
    data = parser.add_argument_group("Int8 and scores")
    add_switch(data, "--int8", default=False,
               help="ONNX or OpenVINO with convolutions in 8 bits, calibrated on training images "
                    "of --data_root, resized to --size")
    data.add_argument("--calibration_images", type=positive_int, default=32, metavar="N",
                      help="number of training images to calibrate on, drawn at random")
    data.add_argument("--score", metavar="SPLIT",
                      help="print the mIoU of the network and of the file on this split, its "
                           "images at their own size")
    data.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    return parser


def metadata(args: Namespace, model: LoadedModel) -> dict[str, str]:
    """Returns the metadata of the file, each value as JSON."""
    spec = model.spec
    facts = {"arch": model.trained.arch, "dataset": spec.name, "classes": list(spec.names),
             "palette": spec.palette.tolist(),
             "mean": list(model.predictor.mean), "std": list(model.predictor.std),
             "input": args.input, "output": args.output, "size": list(args.size),
             "dynamic": args.dynamic, "temperature": model.predictor.temperature,
             "precision": "int8" if args.int8 else "float32",
             "weights": model.trained.weights, "license": model.trained.license,
             "description": spec.description,
             "commit": files.commit(), "torch": torch.__version__}
    return {name: json.dumps(value) for name, value in facts.items()}


class Splits(NamedTuple):
    """The splits that an export reads; None where a flag does not ask for one.

    Attributes:
        calibration: images to calibrate an int8 file on, with or without labels.
        scored: a labeled split on which network and file are scored.
    """

    calibration: datasets.SegmentationDataset | None
    scored: datasets.SegmentationDataset | None


def open_splits(args: Namespace, spec: DatasetSpec) -> Splits:
    """Opens the splits that the flags ask for.

    Raises:
        ValueError: the flags exclude each other, the split to score has no labels, or an image has
            another size than the file.
        FileNotFoundError: images are missing.
    """
    if args.int8 and args.format not in int8.QUANTIZERS:
        raise ValueError(f"--int8 writes --format {', '.join(int8.QUANTIZERS)}, not {args.format}")
    if args.compress_to_fp16 and args.format != "openvino":
        raise ValueError(f"--compress_to_fp16 is for --format openvino, not {args.format}: leave "
                         "it out")
    if args.data_root is not None and not (args.int8 or args.score):
        raise ValueError("--data_root is read by --int8 and --score only: give one of them, or "
                         "leave it out")
    calibration = scored = None
    if args.int8:
        # calibration reads no labels, so the split need not have any
        unlabeled = replace(spec, unlabeled=(int8.SPLIT,))
        calibration = datasets.build(unlabeled, args.data_root, int8.SPLIT)
    if args.score:
        scored = datasets.build(spec, args.data_root, args.score)
        if not scored.labeled:
            raise ValueError(f"--score {args.score}: {spec.title} has no labels of it, so there is "
                             "nothing to score")
        # the sizes of the other images are checked when they are read
        if not args.dynamic:
            image = datasets.read_image(scored.samples[0].image)
            require_size(scored.samples[0].name, (image.shape[0], image.shape[1]), args.size)
    return Splits(calibration, scored)


def training_size(trained: Snapshot) -> tuple[int, int]:
    """Returns (height, width) of the crops of a network's training, or `DEFAULT_SIZE`.

    A smaller side than `SMALLEST` becomes that.
    """
    crop = (trained.payload.get("args") or {}).get("crop_size") or DEFAULT_SIZE
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return max(SMALLEST, height), max(SMALLEST, width)


@contextmanager
def unverified_file(row: Format, out: Path) -> Iterator[Path]:
    """Yields a file beside `out`, which replaces it if the block succeeds and is deleted otherwise.

    So do its companions.

    Raises:
        ValueError: the folder cannot be written.
    """
    path = out.with_name(f"{out.stem}.unchecked{out.suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ValueError(f"--out {out} cannot be written ({error.strerror}): choose another "
                         "folder") from error
    try:
        yield path
        for written, kept in zip(row.files(path), row.files(out), strict=True):
            written.replace(kept)
    finally:
        for written in row.files(path):
            written.unlink(missing_ok=True)


def export(args: Namespace) -> None:
    """Writes and verifies a file.

    Raises:
        ValueError, OSError: a flag or the snapshot is invalid, or a package is missing.
        OutOfTolerance: the file computes something else than the network.
    """
    row = FORMATS[args.format]
    row.require(f"--format {args.format}")
    if args.int8 and args.format == "openvino":
        int8.require_nncf()
    if args.out.suffix != row.suffix:
        raise ValueError(f"--out {args.out}: a file of --format {args.format} ends in {row.suffix}")
    with unverified_file(row, args.out) as path:
        model = load_predictor(args.snapshot, arch=args.arch, weights=args.weights,
                               dataset=args.dataset, device="cpu", precision="fp32",
                               channels_last=False)
        trained, spec = model.trained, model.spec
        args.size = args.size or training_size(trained)
        splits = open_splits(args, spec)
        predictor = model.predictor
        module = ExportModule(predictor.net, predictor.mean, predictor.std, args.input, args.output,
                              predictor.temperature)
        log.info("%s: %s, %s weights, classes of %s", args.snapshot, trained.arch, trained.weights,
                 spec.title)
        facts = metadata(args, model)
        program = trace(module, args.size, (0, 2, 3) if args.dynamic else (), trained.arch)
        quantize = None
        if splits.calibration is not None:
            calibration = training_images(module, splits.calibration, args.calibration_images,
                                          args.size)
            quantize = int8.quantizer(args.format, calibration)
        row.write(Request(module, program, facts, args.opset, args.compress_to_fp16, quantize),
                  path)
        inputs, tolerance = examples(module, args.size, args.dynamic), EXACT
        advice = "another --opset or --format, or a fixed size"
        if args.compress_to_fp16:
            tolerance, advice = HALF, "--no_compress_to_fp16"
        if splits.calibration is not None:
            count = args.calibration_images
            inputs = calibration_examples(module, splits.calibration, count, args.size,
                                          args.dynamic)
            tolerance, advice = INT8, "more --calibration_images, or leave --int8 out"
        run = open_file(row, path, facts)
        verify(module, run, inputs, name=args.out.name, runtime=row.runtime, tolerance=tolerance,
               advice=advice)
        if splits.scored is not None:
            report_score(module, run, splits.scored, None if args.dynamic else args.size)
    height, width = args.size
    sides = "any batch and size" if args.dynamic else f"1x3x{height}x{width}"
    written = sum(path.stat().st_size for path in row.files(args.out))
    log.info("%s: %s, %s -> %s, %s bytes", args.out, sides, args.input, args.output,
             f"{written:,}")


def report_score(module: ExportModule, run: Run, data: datasets.SegmentationDataset,
                 size: tuple[int, int] | None) -> None:
    """Logs the mIoU of the network and of the file. Raises ValueError as `score` does."""
    scores = score(module, run, data, size)
    difference = scores.file - scores.network
    log.info("%s %s, %d images: mIoU %.2f %% of the network in float32, %.2f %% of the file, %+.2f "
             "points; %.3f %% equal labels",
             data.spec.name, data.split, len(data), 100 * scores.network, 100 * scores.file,
             100 * difference, 100 * scores.equal)


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
    return run_program("tools.export", lambda: run(args), resume="nothing was written")


if __name__ == "__main__":
    sys.exit(main())
