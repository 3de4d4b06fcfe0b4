"""Class-uniform sampling: time to find the centroids, and the classes in the crops around them."""
from __future__ import annotations

import copy
import json
import math
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
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
from utils import IGNORE_LABEL
from utils.cli import FlagParser, fraction, positive_int, size
from utils.files import write_text


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--dataset", default="streets",
                        help=f"one of: {', '.join(datasets.names())}")
    parser.add_argument("--data_root",
                        help="folder of the dataset; by default, street scenes are drawn in a "
                             "temporary folder")
    parser.add_argument("--split", default="train", help="split to read")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the scenes that are drawn, in pixels")
    parser.add_argument("--maps", type=positive_int, default=16,
                        help="timed labels, and scenes that are drawn")
    parser.add_argument("--crop_size", type=size,
                        help="HEIGHTxWIDTH of the crops in pixels; by default that of the dataset")
    parser.add_argument("--class_uniform_pct", type=fraction, default=0.5,
                        help="fraction of the crops that are around centroids")
    parser.add_argument("--class_uniform_tile", type=positive_int, default=1024,
                        help="side of a tile in pixels")
    parser.add_argument("--draws", type=positive_int, default=400,
                        help="crops whose classes are counted, rounded up to whole epochs")
    parser.add_argument("--entries", type=positive_int, default=3000,
                        help="labels in the cache that the second start reads")
    parser.add_argument("--passes", type=positive_int, default=200,
                        help="labels that the first start reads, some of them repeatedly")
    parser.add_argument("--num_workers", type=int, nargs="+", default=[datasets.default_workers()],
                        help="numbers of reading processes, one first start for each; 0 reads in "
                             "the main process")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the measurements to this file")


@dataclass(frozen=True)
class Options:
    """What is sampled and measured; the fields are the flags of the same name.

    Args:
        data_root: folder of the dataset; None draws `maps` scenes of `size`, (height, width).
        crop_size: (height, width) of the crops.
        tile: side of a tile in pixels (`--class_uniform_tile`).
        fraction: of the crops that are around centroids (`--class_uniform_pct`).
    """

    dataset: str
    data_root: str | None
    split: str
    size: tuple[int, int]
    maps: int
    crop_size: tuple[int, int]
    fraction: float
    tile: int
    draws: int
    entries: int
    passes: int
    num_workers: Sequence[int]
    json: Path | None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        """Reads the flags. Raises ValueError if the dataset is unknown."""
        crop_size = args.crop_size or datasets.spec(args.dataset).crop_size
        return cls(dataset=args.dataset, data_root=args.data_root, split=args.split,
                   size=args.size, maps=args.maps, crop_size=crop_size,
                   fraction=args.class_uniform_pct, tile=args.class_uniform_tile,
                   draws=args.draws, entries=args.entries, passes=args.passes,
                   num_workers=args.num_workers, json=args.json)


@dataclass(frozen=True)
class ClassFractions:
    """What the crops of some epochs contain, by class.

    Attributes:
        pixels: fraction of the labeled pixels that are of the class.
        crops: fraction of the crops that contain the class.
    """

    pixels: list[float]
    crops: list[float]


def run(args: Namespace) -> None:
    """Measures, and prints two tables. Raises ValueError or OSError as the datasets do."""
    options = Options.from_args(args)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        root = options.data_root or draw_scenes(scratch / "scenes", options.maps, options.size)
        crop_options = transforms.TransformOptions(options.crop_size, color_aug=0, gblur=False)
        transform, _ = transforms.build(crop_options)
        data = datasets.build(options.dataset, root, options.split, transform)
        cache = scratch / "cache"
        result = {"times": measure_times(data, options, cache),
                  **measure_fractions(data, options, cache)}
    result["settings"] = {
        "dataset": options.dataset, "split": options.split, "images": len(data),
        "crop_size": list(options.crop_size), "class_uniform_pct": options.fraction,
        "class_uniform_tile": options.tile}
    report_times(result["times"], options.tile)
    report_fractions(result, data.spec.names)
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def draw_scenes(folder: Path, count: int, image_size: tuple[int, int]) -> Path:
    """Writes street scenes of (height, width); returns the folder."""
    height, width = image_size
    print(f"drawing {count} street scenes of {height}x{width} ...", file=sys.stderr)
    make_streets(folder, {"train": count, "val": 1}, image_size, seed=0,
                 workers=datasets.default_workers())
    return folder


def measure_times(data: datasets.SegmentationDataset, options: Options,
                  cache: Path) -> dict[str, Any]:
    """Times the search on one core and in processes, and a start that reads the cache.

    Args:
        cache: folder for the caches; it may be missing.
    """
    decoding, finding = [], []
    for index in range(min(options.maps, len(data))):
        start = time.perf_counter()
        label = data.label(index)
        decoded = time.perf_counter()
        class_centroids(label, options.tile, data.spec.num_classes)
        decoding.append(decoded - start)
        finding.append(time.perf_counter() - decoded)
    labels_per_second = {}
    repeated = repeat(data, options.passes)
    for workers in options.num_workers:
        start = time.perf_counter()
        find_centroids(repeated, options.tile, workers, cache / f"{workers}")
        labels_per_second[str(workers)] = options.passes / (time.perf_counter() - start)
    points, second_start = time_second_start(data, options, cache)
    return {
        "label_height": label.shape[0], "label_width": label.shape[1],
        "decoding_ms": 1e3 * statistics.median(decoding),
        "points_ms": 1e3 * statistics.median(finding), "points_ms_slowest": 1e3 * max(finding),
        "labels_per_second": labels_per_second, "entries": options.entries, "points": points,
        "second_start_s": second_start}


def time_second_start(data: datasets.SegmentationDataset, options: Options,
                      cache: Path) -> tuple[int, float]:
    """Writes a cache of `--entries` labels, the centroids of the same labels again and again.

    Returns:
        The number of centroids, and the seconds of a start that reads them.
    """
    rows = find_centroids(data, options.tile, options.num_workers[-1], cache)
    # rows (image, class, x, y) are sorted by image
    of_label = np.split(rows[:, 1:], np.searchsorted(rows[:, 0], range(1, len(data))))
    all_rows = np.concatenate([np.insert(of_label[i % len(data)], 0, i, axis=1)
                               for i in range(options.entries)])
    repeated = repeat(data, options.entries)
    CentroidCache.of(repeated, options.tile, cache).write(all_rows)
    start = time.perf_counter()
    find_centroids(repeated, options.tile, 0, cache)
    return len(all_rows), time.perf_counter() - start


def repeat(data: datasets.SegmentationDataset, count: int) -> datasets.SegmentationDataset:
    """Returns a dataset of `count` samples, those of `data` again and again."""
    repeated = copy.copy(data)
    repeated.samples = tuple(data.samples[i % len(data)] for i in range(count))
    repeated.source = Files(repeated.samples)
    return repeated


def measure_fractions(data: datasets.SegmentationDataset, options: Options,
                      cache: Path) -> dict[str, Any]:
    """Counts the classes in training crops, "without" and "with" class-uniform sampling.

    Returns:
        `ClassFractions` of both as dictionaries, and "draws", the crops of an epoch that are around
        centroids, by class.
    """
    result: dict[str, Any] = {}
    for name, uniform in (("without", 0.0), ("with", options.fraction)):
        _, plan = datasets.plan_training(data, 0, class_uniform_pct=uniform, cache_dir=cache,
                                         class_uniform_tile=options.tile)
        epochs = math.ceil(options.draws / len(plan))
        result[name] = asdict(count_crops(data, plan, epochs, options.num_workers[-1]))
        result["draws"] = {data.spec.names[train_id]: count
                           for train_id, count in plan.class_draws(0).items()}
    return result


def count_crops(data: datasets.SegmentationDataset, plan: datasets.EpochPlan, epochs: int,
                num_workers: int) -> ClassFractions:
    """Counts the classes in every crop of some epochs."""
    num_classes = data.spec.num_classes
    sampler = datasets.EpochSampler(plan, 1)
    loader = datasets.train_loader(data, sampler, num_workers)
    pixels = np.zeros(num_classes, np.int64)
    crops = np.zeros(num_classes, np.int64)
    for epoch in range(epochs):
        sampler.set_position(epoch)
        for batch in loader:
            labels = batch["label"].numpy().ravel()
            counts = np.bincount(labels, minlength=IGNORE_LABEL + 1)[:num_classes]
            pixels += counts
            crops += counts > 0
    return ClassFractions(pixels=(pixels / pixels.sum()).tolist(),
                          crops=(crops / (epochs * len(plan))).tolist())


def report_times(times: dict[str, Any], tile: int) -> None:
    print(f"labels of {times['label_height']}x{times['label_width']}, tiles of {tile}")
    print(f"decoding a label            {times['decoding_ms']:8.1f} ms")
    print(f"points of a label, one core {times['points_ms']:8.1f} ms "
          f"(slowest {times['points_ms_slowest']:.1f})")
    print(f"second start                {times['second_start_s']:8.3f} s "
          f"with {times['entries']} labels, {times['points']} points")
    for workers, speed in times["labels_per_second"].items():
        print(f"first start                 {speed:8.1f} labels/s with {workers} worker(s)")


def report_fractions(result: dict[str, Any], names: Sequence[str]) -> None:
    print(f"\n{'':20} {'pixels of the crops':>22} {'crops with the class':>22} "
          f"{'crops around it':>20}")
    print(f"{'class':20} {'without':>11}{'with':>11} {'without':>11}{'with':>11} "
          f"{'in an epoch':>20}")
    without, uniform = (ClassFractions(**result[name]) for name in ("without", "with"))
    for i, name in enumerate(names):
        print(f"{name:20} {without.pixels[i]:11.2%}{uniform.pixels[i]:11.2%} "
              f"{without.crops[i]:11.1%}{uniform.crops[i]:11.1%} "
              f"{result['draws'].get(name, 0):20}")
