"""Time of each stage of a training sample, and whether the loader keeps up with the steps."""
from __future__ import annotations

import json
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch

import datasets
import transforms
from datasets.loader import collate
from datasets.reader import Files, read_image
from tools import pack_dataset
from tools.benchmark.pair import cityscapes_sized, write_cityscapes
from transforms import TransformOptions
from utils.cli import FlagParser, positive_int
from utils.files import write_text
from utils.machine import host_memory

# samples or batches before the timed ones
WARM_UP = 3
# batches of each worker: those that torch loads in advance, and the fewest that are timed
PREFETCHED, MIN_TIMED = 2, 3
# copies of the pair that is made where there is no --data_root
COPIES = 8
# samples after which the memory of a worker is measured first
SETTLED = 100
SEED = 0


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--dataset", default="cityscapes",
                        help=f"one of: {', '.join(datasets.names())}")
    parser.add_argument("--data_root",
                        help="folder of the dataset; by default, a pair as large as those of "
                             "Cityscapes is made and packed in a temporary folder")
    parser.add_argument("--split", default="train", help="split to read")
    parser.add_argument("--packed", metavar="DIR",
                        help="packed copy of the split, measured beside the files")
    parser.add_argument("--picture", type=Path, metavar="FILE",
                        help="frame that is enlarged for the pair; by default, a street is drawn")
    parser.add_argument("--samples", type=positive_int, default=60,
                        help="timed samples of each source")
    parser.add_argument("--bs_mult", type=positive_int, default=8, help="images in a batch")
    parser.add_argument("--num_workers", type=int, nargs="+", default=[datasets.default_workers()],
                        help="numbers of loading processes, measured one after the other; 0 loads "
                             "in the main process")
    parser.add_argument("--batches", type=positive_int, default=12,
                        help=f"timed batches with each number of workers, at least {MIN_TIMED} for "
                             "each worker")
    parser.add_argument("--step_ms", type=float, nargs="*", default=[],
                        help="durations of a training step in ms; measures the fraction of the "
                             "time that it would wait for batches")
    parser.add_argument("--memory", type=int, default=0, metavar="N",
                        help=f"measure the growth of a worker's memory from {SETTLED} to N samples "
                             "(Linux)")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the measurements to this file")
    transforms.add_flags(parser)


@dataclass(frozen=True)
class Options:
    """What is loaded and measured; the fields are the flags of the same name.

    Args:
        data_root: folder of the dataset; None makes a pair of images.
        packed: packed copy of the split, or None.
        picture: frame that is enlarged for the pair; None draws a street.
        step_ms: durations of a training step in ms.
        memory: samples after which a worker's memory is measured again; 0 does not measure it.
        transforms: its `crop_size` is that of the dataset if no flag gives it.
    """

    dataset: str
    data_root: str | None
    split: str
    packed: str | None
    picture: Path | None
    samples: int
    bs_mult: int
    num_workers: Sequence[int]
    batches: int
    step_ms: Sequence[float]
    memory: int
    json: Path | None
    transforms: TransformOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        """Reads the flags. Raises ValueError if one is invalid or the dataset is unknown."""
        if args.data_root is None:
            # the pair that is made has the layout of this split
            args.dataset, args.split = "cityscapes", "train"
        args.crop_size = args.crop_size or datasets.spec(args.dataset).crop_size
        return cls(dataset=args.dataset, data_root=args.data_root, split=args.split,
                   packed=args.packed, picture=args.picture, samples=args.samples,
                   bs_mult=args.bs_mult, num_workers=args.num_workers, batches=args.batches,
                   step_ms=args.step_ms, memory=args.memory, json=args.json,
                   transforms=TransformOptions.from_args(args))

    def settings(self) -> dict[str, str]:
        """Returns the flags and their values, for the record."""
        flags = {**vars(self), **vars(self.transforms)}
        return {name: str(value) for name, value in flags.items() if name != "transforms"}


def run(args: Namespace) -> None:
    """Measures, and prints tables. Raises ValueError or OSError as train.py does."""
    options = Options.from_args(args)
    with single_threaded(), tempfile.TemporaryDirectory() as scratch:
        result = measure(options, open_sources(options, Path(scratch)))
    report(result, options)
    if options.json:
        settings = {"opencv": cv2.__version__, "torch": torch.__version__, **options.settings()}
        write_text(options.json, json.dumps({**result, "settings": settings}, indent=2) + "\n")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Gives OpenCV and torch one thread, as a worker of the loader has."""
    opencv_threads, torch_threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(opencv_threads)
        torch.set_num_threads(torch_threads)


def open_sources(options: Options, scratch: Path) -> dict[str, datasets.SegmentationDataset]:
    """Returns the dataset by source: files or pack, with color in the loader or on the device.

    Args:
        scratch: empty folder, for the pair that is made.
    """
    root, packed = options.data_root, options.packed
    if root is None:
        root, packed = make_pair(options, scratch)
    sources = {}
    for source, folder in {"files": None, "pack": packed}.items():
        if source == "pack" and packed is None:
            continue
        for augment_on in ("loader", "device"):
            if augment_on == "device" and options.transforms.bblur:
                continue
            transform, color = transforms.build(replace(options.transforms, augment_on=augment_on))
            name = source if color is None else f"{source}, color on the device"
            extras = None if color is None else color.draw
            data = datasets.build(options.dataset, root, options.split, transform, extras, folder)
            datasets.add_partners(data, cache_dir=scratch)
            sources[name] = data
    return sources


def make_pair(options: Options, scratch: Path) -> tuple[str, str]:
    """Writes copies of a pair, and a pack of them; returns both folders."""
    root, packed = scratch / "cityscapes", scratch / "pack"
    write_cityscapes(root, *cityscapes_sized(options.picture), COPIES)
    data = datasets.build(options.dataset, root, options.split)
    pack_dataset.pack(data, packed, {}, range(COPIES), 0)
    return str(root), str(packed)


def measure(options: Options,
            sources: dict[str, datasets.SegmentationDataset]) -> dict[str, Any]:
    """Returns the measurements of each source.

    "ms" is by stage, "images_per_second" by number of workers, "waits" by number of workers and
    duration of a step, and "memory_mb" by number of samples.
    """
    result: dict[str, Any] = {"ms": {}, "images_per_second": {}, "waits": {}, "memory_mb": {}}
    for name, data in sources.items():
        result["ms"][name] = stages(data, options)
    for name, data in sources.items():
        result["images_per_second"][name] = {workers: speed(data, options, workers)
                                             for workers in options.num_workers}
    for name, data in sources.items():
        result["waits"][name] = {}
        for workers in options.num_workers:
            waits = {step_ms: wait(data, options, workers, step_ms) for step_ms in options.step_ms}
            result["waits"][name][workers] = waits
    if options.memory:
        for name, data in sources.items():
            result["memory_mb"][name] = memory(data, options)
    return result


def stages(data: datasets.SegmentationDataset, options: Options) -> dict[str, float]:
    """Returns the median milliseconds of each stage of a sample, and of the whole sample."""
    times: dict[str, list[float]] = {}
    samples: list[dict[str, Any] | datasets.DatasetError] = []
    draws = datasets.EpochPlan(len(data), SEED).draws(0)
    for number in range(WARM_UP + options.samples):
        draw = replace(draws[number % len(draws)], epoch=number)
        clock = Clock(times if number >= WARM_UP else {})
        time_transforms(data, draw, clock)
        clock.restart()
        samples.append(data[draw])
        clock.stop("whole sample")
        if len(samples) == options.bs_mult:
            clock.restart()
            collate(samples)
            clock.stop("collate", count=options.bs_mult)
            samples = []
    return {stage: statistics.median(milliseconds) for stage, milliseconds in times.items()}


def time_transforms(data: datasets.SegmentationDataset, draw: datasets.SampleDraw,
                    clock: Clock) -> None:
    """Reads and transforms a sample one stage after the other."""
    if isinstance(data.source, Files):
        # once without the clock: the file is then in the cache of the system
        image, label = read_image(data.samples[draw.index].image), data.label(draw.index)
        clock.restart()
        read_image(data.samples[draw.index].image)
        clock.stop("read and decode the image")
        data.label(draw.index)
        clock.stop("read and map the label")
    else:
        image, label = data.read(draw.index)            # type: ignore[assignment]
        clock.stop("map the pair into memory")
    rng, focus, compose = draw.rng(), draw.focus, data.transform_of(draw.index)
    assert isinstance(compose, transforms.Compose)
    clock.restart()
    for transform in compose.transforms:
        image, label = transform(image, label, focus, rng)
        focus = None
        clock.stop(type(transform).__name__)


class Clock:
    """Appends the milliseconds since the last stop to the times of a stage."""

    def __init__(self, times: dict[str, list[float]]) -> None:
        self.times = times
        self.restart()

    def restart(self) -> None:
        self.start = time.perf_counter()

    def stop(self, stage: str, count: int = 1) -> None:
        """Ends a stage; `count` is the number of samples that it worked on."""
        milliseconds = 1e3 * (time.perf_counter() - self.start)
        self.times.setdefault(stage, []).append(milliseconds / count)
        self.restart()


class LongPlan(datasets.EpochPlan):
    """One long epoch of few images: between two epochs, no batch would be loaded in advance."""

    def __init__(self, images: int, draws: int) -> None:
        super().__init__(draws, SEED)
        self.images = images

    def draws(self, epoch: int) -> list[datasets.SampleDraw]:
        return [replace(draw, index=draw.index % self.images) for draw in super().draws(epoch)]


def load_batches(data: datasets.SegmentationDataset, bs_mult: int, workers: int,
                 samples: int) -> Iterator[dict[str, Any]]:
    """Yields batches as training loads them.

    There are more batches than `samples` fill, so that the workers are busy until the last timed
    batch.
    """
    more = WARM_UP + (1 + PREFETCHED) * workers
    plan = LongPlan(len(data), samples + more * bs_mult)
    yield from datasets.train_loader(data, datasets.EpochSampler(plan, bs_mult), workers)


def timed_batches(batches: int, workers: int, of_each: int = MIN_TIMED) -> int:
    """Returns how many batches are timed: at least `batches`, and equally many of each worker.

    The workers finish their batches at about the same time, so that an incomplete round would be
    measured as too fast or too slow.

    Args:
        of_each: batches of each worker at least.
    """
    workers = max(1, workers)
    return workers * max(of_each, math.ceil(batches / workers))


def use_up(batches: Iterator[dict[str, Any]], workers: int) -> None:
    """Takes the batches that the workers load in advance, which must not be timed."""
    for _ in range(WARM_UP + PREFETCHED * workers):
        next(batches)


def speed(data: datasets.SegmentationDataset, options: Options, workers: int) -> float:
    """Returns the images per second of the loader alone."""
    count = timed_batches(options.batches, workers)
    batches = load_batches(data, options.bs_mult, workers, count * options.bs_mult)
    use_up(batches, workers)
    start, images = time.perf_counter(), 0
    for _ in range(count):
        images += len(next(batches)["name"])
    return images / (time.perf_counter() - start)


def wait(data: datasets.SegmentationDataset, options: Options, workers: int,
         step_ms: float) -> float:
    """Returns the fraction of the time that steps of a duration would wait for their batches."""
    # a round of the workers before the timed ones: the first step waits for it
    untimed, count = workers, timed_batches(options.batches, workers)
    batches = load_batches(data, options.bs_mult, workers, (untimed + count) * options.bs_mult)
    use_up(batches, workers)
    waited = 0.0
    for step in range(untimed + count):
        start = time.perf_counter()
        next(batches)
        if step >= untimed:
            waited += time.perf_counter() - start
        time.sleep(step_ms / 1e3)
    return waited / (waited + count * step_ms / 1e3)


def memory(data: datasets.SegmentationDataset, options: Options) -> dict[str, float]:
    """Returns the MB of a worker's anonymous memory after `SETTLED` and after `--memory` samples.

    Raises:
        OSError: the system is not Linux.
    """
    before = {child.pid for child in multiprocessing.active_children()}
    total = max(options.memory, SETTLED)
    batches, samples = load_batches(data, options.bs_mult, 1, total), 0
    amounts: dict[str, float] = {}
    while samples < total:
        samples += len(next(batches)["name"])
        worker = next(child.pid for child in multiprocessing.active_children()
                      if child.pid not in before)
        if samples >= SETTLED:
            amounts.setdefault(f"{SETTLED} samples", host_memory("RssAnon", worker) / 1e6)
    amounts[f"{options.memory} samples"] = host_memory("RssAnon", worker) / 1e6
    return amounts


def report(result: dict[str, Any], options: Options) -> None:
    """Prints the tables."""
    report_stages(result["ms"], options.samples)
    print(f"\nbatches of {options.bs_mult}")
    for workers in options.num_workers:
        speeds = [speeds[workers] for speeds in result["images_per_second"].values()]
        print_row(f"images/s, {workers} worker(s)", [f"{speed:.1f}" for speed in speeds])
        for step_ms in options.step_ms:
            waits = [waits[workers][step_ms] for waits in result["waits"].values()]
            print_row(f"waits, steps of {step_ms:g} ms", [f"{wait:.0%}" for wait in waits])
    for name, amounts in result["memory_mb"].items():
        listed = ", ".join(f"{amount:.1f} MB after {samples}"
                           for samples, amount in amounts.items())
        print(f"memory of a worker, {name}: {listed}")
    sys.stdout.flush()


def report_stages(times: dict[str, dict[str, float]], samples: int) -> None:
    """Prints the milliseconds by source and stage; "whole sample" comes last."""
    print(f"milliseconds a sample (medians of {samples}, one core)")
    print_row("", list(times))
    names = dict.fromkeys(stage for of_source in times.values() for stage in of_source)
    del names["whole sample"]
    for stage in (*names, "whole sample"):
        print_row(stage, [f"{of_source[stage]:.2f}" if stage in of_source else "-"
                          for of_source in times.values()])


def print_row(head: str, cells: list[str]) -> None:
    print(f"{head:28} " + " ".join(f"{cell:>30}" for cell in cells))
