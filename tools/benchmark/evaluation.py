"""Seconds of each part of an evaluation: reading, network, resizing, accumulation and metric."""
from __future__ import annotations

import json
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import datasets
import network
from tools.make_streets.writing import make_streets
from utils import precision as precision_flags
from utils.cli import FlagParser, add_switch, positive_int, size
from utils.evaluation import boundary
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.files import write_text
from utils.machine import peak_memory
from utils.precision import PrecisionOptions, default_device

PARTS = ("reading", "network", "resizing", "accumulation", "metric", "other")


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", default="sfnet_dfnetv1", help="network, with random weights")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the scenes that are drawn, in pixels")
    parser.add_argument("--images", type=positive_int, default=3,
                        help="timed images, after one that is not timed")
    parser.add_argument("--dataset", default="streets",
                        help="with --data_root: dataset to read instead of drawn scenes")
    parser.add_argument("--data_root", type=Path, metavar="FOLDER", help="folder of the dataset")
    parser.add_argument("--split", default="val", help="split of the dataset")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the seconds to this file")
    add_switch(parser, "--evaluateF", default=False,
               help="compute boundary F scores at four thresholds as well")
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)


@dataclass(frozen=True)
class Options:
    """What is evaluated, and how; the fields are the flags of the same name.

    Args:
        size: (height, width) of drawn scenes.
        data_root: folder of the dataset; None draws scenes.
        boundary_f: whether boundary F scores are computed (`--evaluateF`).
        json: file for the result, or None.
    """

    arch: str
    size: tuple[int, int]
    images: int
    dataset: str
    data_root: Path | None
    split: str
    boundary_f: bool
    json: Path | None
    inference: InferenceOptions
    precision: PrecisionOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(arch=args.arch, size=args.size, images=args.images, dataset=args.dataset,
                   data_root=args.data_root, split=args.split, boundary_f=args.evaluateF,
                   json=args.json, inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args))


class Stopwatch:
    """Adds up the seconds of each part; waits for the device at both ends of a part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def restart(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.started = self.now()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = self.now()
        yield
        self.seconds[part] += self.now() - start

    def stop(self) -> None:
        """Sets "other" to the time since the start that belongs to no part."""
        self.seconds["other"] = self.now() - self.started - sum(self.seconds.values())

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def run(args: Namespace) -> None:
    """Evaluates some images, and prints a table. Raises ValueError or OSError as eval.py does."""
    options = Options.from_args(args)
    with tempfile.TemporaryDirectory() as scratch:
        root = options.data_root
        if root is None:
            root = Path(scratch)
            # one more than are timed; the train split must not be empty
            counts = {"train": 1, "val": options.images + 1}
            make_streets(root, counts, options.size, seed=0, workers=os.cpu_count() or 1)
        result = measure(options, datasets.build(options.dataset, root, options.split))
    report(result)
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def measure(options: Options, data: datasets.SegmentationDataset) -> dict[str, Any]:
    """Returns the mean seconds of each part for an image, and the peak memory of this process.

    Its "overhead" is the fraction of the time outside the network, reading not counted.

    Raises:
        ValueError: the split has fewer than two images.
    """
    count = min(options.images, len(data) - 1)
    if count < 1:
        raise ValueError(f"{data.spec.title} {data.split} has {len(data)} image(s), but two are "
                         "needed: the first one warms up, the others are timed.")
    device = default_device()
    precision = options.precision.apply(device, one_size=False)
    watch = Stopwatch(device)
    predictor = build_predictor(options, data.spec, device, precision, watch)
    matrix = ConfusionMatrix(data.spec.num_classes, device=device)
    # during the first image, kernels are chosen and caches filled; a GPU captures a graph at the
    # second image of a shape
    for _ in range(2 if device.type == "cuda" else 1):
        evaluate(data, 0, predictor, matrix, watch, options.boundary_f)
    watch.restart()
    for index in range(1, count + 1):
        height, width = evaluate(data, index, predictor, matrix, watch, options.boundary_f)
    watch.stop()
    seconds = {part: value / count for part, value in watch.seconds.items()}
    without_reading = sum(seconds.values()) - seconds["reading"]
    return {
        "seconds": seconds, "images": count, "peak_host_bytes": peak_memory(torch.device("cpu")),
        "overhead": 1 - seconds["network"] / without_reading,
        "settings": {
            "arch": options.arch, "size": [height, width], **options.inference.settings(),
            "precision": precision, "batch_size": options.inference.windows_per_batch,
            "device": str(device), "threads": torch.get_num_threads(),
            "torch": torch.__version__},
    }


def build_predictor(options: Options, spec: datasets.DatasetSpec, device: torch.device,
                    precision: str, watch: Stopwatch) -> Predictor:
    """Returns the predictor of a random network; it reports its parts to the watch."""
    net = network.build(options.arch, spec.num_classes)
    inference = replace(options.inference, watch=watch)
    mean, std = net.normalization
    compiled = options.precision.compile
    graphs = options.precision.cuda_graphs and device.type == "cuda" and not compiled
    return Predictor(net, device, precision, mean, std, options.precision.channels_last, inference,
                     compiled=compiled, graphs=graphs)


def evaluate(data: datasets.SegmentationDataset, index: int, predictor: Predictor,
             matrix: ConfusionMatrix, watch: Stopwatch, boundary_f: bool) -> tuple[int, int]:
    """Evaluates an image as eval.py does; returns its height and width."""
    with watch("reading"):
        sample = data[index]
    image, labels = sample["image"], sample["label"]
    predictions = predictor.labels(image[None])[0]
    with watch("metric"):
        matrix.update(predictions, labels)
        if boundary_f:
            boundary.boundary_f(predictions.cpu().numpy(), labels.numpy(), data.spec.num_classes)
    height, width = labels.shape
    return height, width


def report(result: dict[str, Any]) -> None:
    total = sum(result["seconds"].values())
    for part, seconds in result["seconds"].items():
        print(f"{part:14} {seconds:8.3f} s/image  {100 * seconds / total:5.1f} %")
    print(f"{'together':14} {total:8.3f} s/image; {100 * result['overhead']:.0f} % outside the "
          f"network; peak memory of this process {result['peak_host_bytes'] / 2**30:.2f} GiB")

