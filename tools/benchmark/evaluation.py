"""Where the time of scoring goes: seconds an image in the network, resizing, accumulation, the
metric and reading.
"""
from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import datasets
import network
from tools.make_streets.writing import make_streets
from utils import precision
from utils.cli import FlagParser, add_switch, positive_int, size
from utils.evaluation import boundary, inference
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.files import write_text

PARTS = ("reading", "network", "resizing", "accumulation", "metric", "other")


class Stopwatch:
    """Adds up the seconds spent in each part; waits for the device at both ends of a part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = self.now()
        yield
        self.seconds[part] += self.now() - start

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", default="sfnet_dfnetv1", help="network, with random weights")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the scenes that are drawn")
    parser.add_argument("--images", type=positive_int, default=3,
                        help="images that are timed, after one that is not")
    parser.add_argument("--dataset", default="streets",
                        help="with --data_root: images of this instead of drawn ones")
    parser.add_argument("--data_root", type=Path, metavar="FOLDER")
    parser.add_argument("--split", default="val")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the seconds to this file")
    add_switch(parser, "--evaluateF", default=False,
               help="score outlines at four thresholds as well")
    inference.add_flags(parser)
    precision.add_flags(parser, training=False)


def run(args: Namespace) -> None:
    """Scores some images, and prints a table. Raises ValueError or OSError as eval.py does."""
    with tempfile.TemporaryDirectory() as scratch:
        root = args.data_root
        if root is None:
            root = Path(scratch)
            counts = {"train": 1, "val": args.images + 1}
            make_streets(root, counts, args.size, seed=0, workers=os.cpu_count() or 1)
        result = measure(args, datasets.build(args.dataset, root, args.split))
    whole = sum(result["seconds"].values())
    for part, seconds in result["seconds"].items():
        print(f"{part:14} {seconds:8.3f} s/image  {100 * seconds / whole:5.1f} %")
    print(f"{'together':14} {whole:8.3f} s/image; {100 * result['overhead']:.0f} % outside the "
          f"network; peak memory of this process {result['peak_host_bytes'] / 2**30:.2f} GiB")
    if args.json:
        write_text(args.json, json.dumps(result, indent=2) + "\n")


def measure(args: Namespace, data: datasets.SegmentationDataset) -> dict[str, Any]:
    """Returns the mean seconds an image in each part, the share outside the network without
    reading, and the peak of this process's memory.
    """
    device = precision.default_device()
    chosen = precision.start(args, device)
    watch, spec = Stopwatch(device), data.spec
    net = network.build(args.arch, spec.num_classes)
    options = replace(inference.InferenceOptions.from_args(args), watch=watch)
    predictor = Predictor(net, device, chosen, spec.mean, spec.std, args.channels_last, options,
                          compiled=args.compile)
    matrix = ConfusionMatrix(spec.num_classes, device=device)
    count = min(args.images, len(data) - 1)
    if count < 1:
        raise ValueError(
            f"{spec.title} {data.split} has {len(data)} image(s): one for warming up and one more "
            "are needed."
        )
    for index in range(count + 1):
        # the first image chose kernels and filled caches
        if index == 1:
            watch.seconds = dict.fromkeys(PARTS, 0.0)
            began = watch.now()
        with watch("reading"):
            sample = data[index]
        labels = predictor.labels(sample["image"][None])[0]
        with watch("metric"):
            matrix.update(labels, sample["label"])
            if args.evaluateF:
                boundary.boundary_f(labels.cpu().numpy(), sample["label"].numpy(), spec.num_classes)
    watch.seconds["other"] = watch.now() - began - sum(watch.seconds.values())
    seconds = {part: value / count for part, value in watch.seconds.items()}
    return {"seconds": seconds, "images": count, "peak_host_bytes": peak_memory(),
            "overhead": 1 - seconds["network"] / (sum(seconds.values()) - seconds["reading"]),
            "settings": {"arch": args.arch, "size": list(sample["label"].shape),
                         **options.settings(), "precision": chosen, "batch_size": args.batch_size,
                         "device": str(device), "threads": torch.get_num_threads(),
                         "torch": torch.__version__}}


def peak_memory() -> int:
    """Returns the most bytes of memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
