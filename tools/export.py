"""Exports a trained network and checks the file in its own runtime: `python -m tools.export --snapshot FILE ...`."""
from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

import datasets
from datasets.spec import DatasetSpec
from network import deployed, snapshot
from network.snapshot import Snapshot
from tools.exports.formats import FORMATS, OPSETS, Format, Request
from tools.exports.graph import INPUTS, OUTPUTS, SMALLEST, Graph, compare, program
from utils import runs
from utils.flags import FlagParser, add_switch, size
from utils.logs import start_logging

log = logging.getLogger("export")


class OutOfTolerance(ValueError):
    """The exported file computes something else than the network."""


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.export", description="Export a trained network, and check the file.")
    snapshot.add_flags(parser)
    group = parser.add_argument_group("Export")
    group.add_argument("--format", choices=FORMATS, required=True,
                       help="onnx; onnx-gather for runtimes without GridSample; pt2, a torch.export program; aoti, a "
                            "compiled package (needs a C++ compiler)")
    group.add_argument("--out", type=Path, required=True, metavar="FILE", help="new file, .onnx or .pt2")
    group.add_argument("--size", type=size, default="1024x2048", help="HEIGHTxWIDTH of the images")
    add_switch(group, "--dynamic", default=False, help="leave batch, height and width open; --size is then an example")
    group.add_argument("--opset", type=int, choices=OPSETS, default=18, help="of ONNX")
    group.add_argument("--input", choices=INPUTS, default="normalised",
                       help="float32 (RGB / 255 - mean) / std, or uint8 RGB, normalised inside")
    group.add_argument("--output", choices=OUTPUTS, default="labels",
                       help="int32 train ids, or float32 logits at the images' size")
    group.add_argument("--dataset", help="classes and colours for the metadata; default: the snapshot's")
    return parser


def metadata(args: Namespace, trained: Snapshot, spec: DatasetSpec) -> dict[str, str]:
    """Returns what goes into the file, each value as JSON."""
    facts = {"arch": trained.arch, "dataset": spec.name, "classes": list(spec.names), "palette": spec.palette.tolist(),
             "mean": list(spec.mean), "std": list(spec.std), "input": args.input, "output": args.output,
             "size": list(args.size), "dynamic": args.dynamic, "commit": runs.commit(), "torch": torch.__version__}
    return {name: json.dumps(value) for name, value in facts.items()}


def check(graph: Graph, row: Format, path: Path, sizes: Sequence[tuple[int, int, int]],
          expected: dict[str, str]) -> None:
    """Reads the file back and compares it with the network on images of each (batch, height, width).

    Raises:
        OutOfTolerance: too many labels differ, or a logit by too much, or metadata is missing.
    """
    run, found = row.open(path)
    if any(found.get(name) != value for name, value in expected.items()):
        raise OutOfTolerance(f"{path.name}: the metadata is not what was written")
    for batch, height, width in sizes:
        images = graph.example((height, width), batch)
        with torch.inference_mode():
            difference = compare(graph.logits(images), run(images))
        log.info("%dx3x%dx%d in %s: largest difference of logits %.1e of the largest, %.3f %% equal labels", batch,
                 height, width, row.runtime, difference.largest, 100 * difference.equal)
        if not difference.tolerable:
            raise OutOfTolerance(f"{path.name} differs from the network at {height}x{width} by more than is tolerable: "
                                 "it was not kept. Try another --opset or --format, or a fixed size.")


def export(args: Namespace) -> None:
    """Writes, checks and names the file.

    Raises:
        ValueError, OSError: a flag, the snapshot or the machine will not do, or the file is out of tolerance.
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
        raise ValueError(f"--out {args.out} cannot be written ({error.strerror}): choose another folder") from error
    try:
        trained = Snapshot(args.snapshot, args.arch, args.weights)
        spec = datasets.spec(args.dataset or trained.dataset)
        graph = Graph(deployed(trained.network(spec.name, spec.names)), spec.mean, spec.std, args.input, args.output)
        facts = metadata(args, trained, spec)
        log.info("%s: %s, %s weights, classes of %s", args.snapshot, trained.arch, trained.weights, spec.title)
        traced = program(graph, args.size, args.dynamic, trained.arch)
        row.write(Request(graph, traced, facts, args.opset), beside)
        height, width = args.size
        others = [(2, max(2 * SMALLEST, height * 3 // 4 + 1), max(2 * SMALLEST, width // 2 + 1))]
        check(graph, row, beside, [(1, height, width), *(others if args.dynamic else [])], facts)
        beside.replace(args.out)
    finally:
        beside.unlink(missing_ok=True)
    sides = "any batch and size" if args.dynamic else f"1x3x{height}x{width}"
    log.info("%s: %s, %s -> %s, %s bytes", args.out, sides, args.input, args.output, f"{args.out.stat().st_size:,}")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    try:
        export(args)
    except OutOfTolerance as error:
        log.error("tools.export: error: %s", error)
        return 1
    except (ValueError, OSError) as error:
        log.error("tools.export: error: %s", error)
        return 2
    except KeyboardInterrupt:
        log.error("tools.export: interrupted: nothing was written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
