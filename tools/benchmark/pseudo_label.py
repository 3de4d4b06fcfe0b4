"""The time of `tools.pseudo_label` for an image, beside that of the predictor alone."""
from __future__ import annotations

import json
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import datasets
from datasets import EvalDataOptions
from eval import load_from_options
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import SnapshotOptions
from tools.pseudo_label.folder import PseudoLabels
from tools.pseudo_label.selection import Selection
from utils import precision as precision_flags
from utils.cli import FlagParser, positive_int
from utils.evaluation import inference as inference_flags
from utils.evaluation.evaluator import Prediction, predict_batch
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.predictor import Predictor
from utils.files import write_text
from utils.precision import PrecisionOptions

SELECTIONS = {"threshold": Selection(threshold=0.9), "keep_share": Selection(keep_share=0.5)}
PARTS = {"labels": "the predictor: label maps",
         "confidence": "the predictor: label maps and probabilities",
         "reading": "reading the image",
         "threshold": "writing with --threshold 0.9",
         "keep_share": "writing with --keep_share 0.5",
         "finishing": "writing the labels at the end, with --keep_share"}
# images that are not counted: the first ones select kernels
WARM_UP = 2


def add_flags(parser: FlagParser) -> None:
    snapshot_flags.add_flags(parser)
    datasets.add_flags(parser, training=False)
    parser.add_argument("--images", type=positive_int, default=20,
                        help=f"timed images, after {WARM_UP} that are not timed")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the seconds to this file")
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)


def run(args: Namespace) -> None:
    """Measures, and prints a table. Raises ValueError or OSError as tools.pseudo_label does."""
    [model] = load_from_options(
        SnapshotOptions.from_args(args), PrecisionOptions.from_args(args),
        InferenceOptions.from_args(args), dataset=args.dataset)
    data = EvalDataOptions.from_args(args).build(model.spec.without_labels())
    seconds = measure(model.predictor, data, args.images)
    print(format_table(seconds))
    if args.json:
        write_text(args.json, json.dumps(seconds, indent=1) + "\n")


def measure(predictor: Predictor, data: datasets.SegmentationDataset,
            images: int) -> dict[str, float]:
    """Returns the median seconds of each part of `PARTS`, for images predicted one by one.

    The parts take turns for each image, so that other work on the machine slows all of them.

    Raises:
        ValueError: the split has too few images.
    """
    if len(data) < images + WARM_UP:
        raise ValueError(f"--images {images}: {data.spec.title} {data.split} has {len(data)} "
                         f"images, and {WARM_UP} are not timed: give at most "
                         f"{max(1, len(data) - WARM_UP)}.")
    clock = Clock(predictor.device)
    run = {"images": images, "classes": data.spec.names, "split": data.split}
    keep_all = np.zeros(data.spec.num_classes, np.int64)
    with tempfile.TemporaryDirectory() as folder:
        records = {name: PseudoLabels(Path(folder) / name, run) for name in SELECTIONS}
        for opened in records.values():
            opened.prepare_folder(resume=False, replace=False)
        for index in range(images + WARM_UP):
            sample = clock("reading", data.__getitem__, index)
            batch = {"name": [sample["name"]], "image": sample["image"][None]}
            clock("labels", predictor.labels, batch["image"])
            prediction = clock("confidence", _predict, predictor, batch)
            for name, chosen in SELECTIONS.items():
                clock(name, records[name].add_prediction, index, prediction, chosen)
            clock("finishing", records["keep_share"].write_labels, keep_all, [sample["name"]], 0)
    return {part: statistics.median(times[WARM_UP:]) for part, times in clock.seconds.items()}


class Clock:
    """Collects the seconds of each part; waits for the device at both ends of a part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}

    def __call__(self, part: str, work: Callable[..., Any], *args: Any) -> Any:
        start = self.now()
        result = work(*args)
        self.seconds[part].append(self.now() - start)
        return result

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _predict(predictor: Predictor, batch: dict[str, Any]) -> Prediction:
    return next(predict_batch(predictor, batch, with_probabilities=True))


def totals(seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns name of `SELECTIONS` -> seconds of an image, in a single process."""
    common = seconds["reading"] + seconds["confidence"]
    return {"threshold": common + seconds["threshold"],
            "keep_share": common + seconds["keep_share"] + seconds["finishing"]}


def format_table(seconds: Mapping[str, float]) -> str:
    """Formats the milliseconds of each part, and the totals relative to the predictor."""
    lines = [f"{1000 * seconds[part]:8.1f} ms  {title}" for part, title in PARTS.items()]
    for name, total in totals(seconds).items():
        lines.append(f"{1000 * total:8.1f} ms  an image with --{name}: "
                     f"{total / seconds['confidence']:.2f} times the predictor with probabilities, "
                     f"{total / seconds['labels']:.2f} times the predictor")
    return "\n".join(lines)
