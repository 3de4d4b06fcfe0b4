"""Class-uniform sampling: what finding the points of the classes costs, and what the crops around
them show.
"""
from __future__ import annotations

import copy
import json
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import datasets
import transforms
from datasets.class_uniform.centroid_cache import CentroidCache
from datasets.class_uniform.centroids import class_centroids, find_centroids
from datasets.reader import Files
from tools.make_streets.writing import make_streets
from utils.cli import FlagParser, fraction, positive_int, size
from utils.files import write_text


@dataclass(frozen=True)
class Shares:
    """What the crops of some epochs show, by class.

    Attributes:
        pixels: share of the labeled pixels.
        crops: share of the crops that show the class.
    """

    pixels: list[float]
    crops: list[float]


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--dataset", default="streets",
                        help=f"one of: {', '.join(datasets.names())}")
    parser.add_argument(
        "--data_root", help="folder of the dataset; when not given, street scenes are drawn for now"
    )
    parser.add_argument("--split", default="train", help="images that are drawn from")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of scenes that are drawn")
    parser.add_argument("--maps", type=positive_int, default=16,
                        help="label maps timed, and scenes that are drawn")
    parser.add_argument("--crop_size", type=size,
                        help="HEIGHTxWIDTH of the crops; when not given, the dataset's own")
    parser.add_argument("--class_uniform_pct", type=fraction, default=0.5,
                        help="share of the crops around points")
    parser.add_argument("--class_uniform_tile", type=positive_int, default=1024,
                        help="side of a tile in pixels")
    parser.add_argument("--draws", type=positive_int, default=400,
                        help="crops looked at, rounded up to whole epochs")
    parser.add_argument("--entries", type=positive_int, default=3000,
                        help="labels whose points a second start reads")
    parser.add_argument("--passes", type=positive_int, default=200,
                        help="labels of a first start, repeated if need be")
    parser.add_argument(
        "--num_workers", type=int, nargs="+", default=[datasets.default_workers()],
        help="processes that read, one first start for each number; 0 reads in this one",
    )
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write what was found to this file")


def run(args: Namespace) -> None:
    """Measures, and prints two tables. Raises ValueError or OSError as the datasets do."""
    cv2.setNumThreads(1)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = args.data_root or draw_scenes(scratch / "scenes", args.maps, args.size)
        crop = args.crop_size or datasets.spec(args.dataset).crop_size
        transform, _ = transforms.build(transforms.TransformOptions(crop, color_aug=0, gblur=False))
        data = datasets.build(args.dataset, root, args.split, transform)
        result = {"times": times(data, args, scratch / "cache"),
                  **shares(data, args, scratch / "cache")}
    result["settings"] = {"dataset": args.dataset, "split": args.split, "images": len(data),
                          "crop_size": list(crop), "class_uniform_pct": args.class_uniform_pct,
                          "class_uniform_tile": args.class_uniform_tile}
    report(result, data.spec.names)
    if args.json:
        write_text(args.json, json.dumps(result, indent=2) + "\n")


def draw_scenes(folder: Path, count: int, image_size: tuple[int, int]) -> Path:
    print(f"drawing {count} street scenes of {image_size[0]}x{image_size[1]} ...", file=sys.stderr)
    make_streets(folder, {"train": count, "val": 1}, image_size, seed=0,
                 workers=datasets.default_workers())
    return folder


def times(data: datasets.SegmentationDataset, args: Namespace, cache: Path) -> dict[str, Any]:
    """Times the finding of points on one core, with all workers, and from a file of so many labels'
    points.
    """
    decoding, finding = [], []
    for index in range(min(args.maps, len(data))):
        start = time.perf_counter()
        label = data.label(index)
        decoded = time.perf_counter()
        class_centroids(label, args.class_uniform_tile, data.spec.num_classes)
        decoding.append(decoded - start)
        finding.append(time.perf_counter() - decoded)
    labels_per_second = {}
    several = repeated(data, args.passes)
    for workers in args.num_workers:
        start = time.perf_counter()
        find_centroids(several, args.class_uniform_tile, workers, cache / f"{workers}")
        labels_per_second[str(workers)] = args.passes / (time.perf_counter() - start)

    rows = find_centroids(data, args.class_uniform_tile, args.num_workers[-1], cache)
    many = repeated(data, args.entries)
    of_image = np.split(rows[:, 1:], np.searchsorted(rows[:, 0], range(1, len(data))))
    kept = np.concatenate([np.insert(of_image[i % len(data)], 0, i, axis=1)
                           for i in range(args.entries)])
    CentroidCache.of(many, args.class_uniform_tile, cache).write(kept)
    start = time.perf_counter()
    find_centroids(many, args.class_uniform_tile, 0, cache)
    return {"label_height": label.shape[0], "label_width": label.shape[1],
            "decoding_ms": 1e3 * statistics.median(decoding),
            "points_ms": 1e3 * statistics.median(finding), "points_ms_slowest": 1e3 * max(finding),
            "labels_per_second": labels_per_second, "entries": args.entries, "points": len(kept),
            "second_start_s": time.perf_counter() - start}


def repeated(data: datasets.SegmentationDataset, count: int) -> datasets.SegmentationDataset:
    """Returns the dataset as if it had so many labels, the same files again and again."""
    several = copy.copy(data)
    several.samples = tuple(data.samples[i % len(data)] for i in range(count))
    several.source = Files(several.samples)
    return several


def shares(data: datasets.SegmentationDataset, args: Namespace, cache: Path) -> dict[str, Any]:
    """Looks at the crops that training would get, without and with class-uniform draws."""
    result: dict[str, Any] = {}
    for name, share in (("without", 0.0), ("with", args.class_uniform_pct)):
        _, plan = datasets.plan_training(data, 0, class_uniform_pct=share, cache_dir=cache,
                                         class_uniform_tile=args.class_uniform_tile)
        result[name] = asdict(count_crops(data, plan, -(-args.draws // len(plan)),
                                          args.num_workers[-1]))
        result["draws"] = {data.spec.names[train_id]: count
                           for train_id, count in plan.class_draws(0).items()}
    return result


def count_crops(data: datasets.SegmentationDataset, plan: datasets.EpochPlan, epochs: int,
                num_workers: int) -> Shares:
    """Counts, in every crop of some epochs, the pixels of each class."""
    sampler = datasets.EpochSampler(plan, 1)
    loader = datasets.train_loader(data, sampler, num_workers)
    pixels, crops = (np.zeros(data.spec.num_classes, np.int64),
                     np.zeros(data.spec.num_classes, np.int64))
    for epoch in range(epochs):
        sampler.set_position(epoch)
        for batch in loader:
            counts = np.bincount(batch["label"].numpy().ravel(),
                                 minlength=256)[: data.spec.num_classes]
            pixels += counts
            crops += counts > 0
    return Shares((pixels / pixels.sum()).tolist(), (crops / (epochs * len(plan))).tolist())


def report(result: dict[str, Any], names: tuple[str, ...]) -> None:
    cost = result["times"]
    print(f"labels of {cost['label_height']}x{cost['label_width']}, tiles of "
          f"{result['settings']['class_uniform_tile']}\ndecoding a label            "
          f"{cost['decoding_ms']:8.1f} ms\npoints of a label, one core {cost['points_ms']:8.1f} ms "
          f"(slowest {cost['points_ms_slowest']:.1f})\nsecond start                "
          f"{cost['second_start_s']:8.3f} s with {cost['entries']} labels, {cost['points']} points")
    for workers, speed in cost["labels_per_second"].items():
        print(f"first start                 {speed:8.1f} labels/s with {workers} worker(s)")
    print(f"\n{'':20} {'pixels of the crops':>22} {'crops that show it':>22} "
          f"{'crops for its sake':>20}\n{'class':20} {'without':>11}{'with':>11} "
          f"{'without':>11}{'with':>11} {'in an epoch':>20}")
    for i, name in enumerate(names):
        cells = [result[kind][figure][i] for figure in ("pixels", "crops")
                 for kind in ("without", "with")]
        print(f"{name:20} {cells[0]:11.2%}{cells[1]:11.2%} {cells[2]:11.1%}{cells[3]:11.1%} "
              f"{result['draws'].get(name, 0):20}")
