"""What a training sample costs, stage by stage, and whether the loader keeps up with the steps that
eat its batches.
"""
from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
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
from utils.cli import FlagParser, positive_int
from utils.files import write_text

# samples, batches
WARM_UP = 3
# of the pair that is made when there is no --data_root
COPIES = 8
# samples after which a worker's memory is first looked at
SETTLED = 100
SEED = 0

Stages = dict[str, float]


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--dataset", default="cityscapes",
                        help=f"one of: {', '.join(datasets.names())}")
    parser.add_argument("--data_root",
                        help="folder of the dataset; when not given, a pair as large as those of "
                             "Cityscapes is made and packed for now")
    parser.add_argument("--split", default="train", help="images that are read")
    parser.add_argument("--packed", metavar="DIR",
                        help="packed copy of that split, measured beside the files")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE",
        help="frame that is enlarged for the pair; when not given, a street is drawn",
    )
    parser.add_argument("--samples", type=positive_int, default=60,
                        help="samples timed in each way")
    parser.add_argument("--bs_mult", type=positive_int, default=8, help="images in a batch")
    parser.add_argument(
        "--num_workers", type=int, nargs="+", default=[datasets.default_workers()],
        help="processes that load, one measurement for each number; 0 loads in this one",
    )
    parser.add_argument("--batches", type=positive_int, default=12,
                        help="batches timed with each number of workers")
    parser.add_argument("--step_ms", type=float, nargs="*", default=[],
                        help="how long a training step takes: tells "
                             "what share of the time it would wait for batches")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="N",
        help=f"tell by how much one worker's own memory grows from {SETTLED} to N samples (Linux)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write what was found to this file")
    transforms.add_flags(parser)


def run(args: Namespace) -> None:
    """Measures, and prints tables. Raises ValueError or OSError where train.py would."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    # what a worker has
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        with ExitStack() as stack:
            ways = open_ways(args, stack)
            result = {"ms": {way: stages(data, args) for way, data in ways.items()},
                      "images_per_second": {way: {workers: speed(data, args, workers)
                                                  for workers in args.num_workers}
                                            for way, data in ways.items()},
                      "waits": {way: {workers: {step: wait(data, args, workers, step)
                                                for step in args.step_ms}
                                      for workers in args.num_workers}
                                for way, data in ways.items()},
                      "memory_mb": {way: memory(data, args) for way, data in ways.items()}
                      if args.memory
                      else {}}
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])
    report(result, args)
    if args.json:
        settings = {"opencv": cv2.__version__, "torch": torch.__version__,
                    **{name: str(value) for name, value in vars(args).items()}}
        write_text(args.json, json.dumps({**result, "settings": settings}, indent=2) + "\n")


def open_ways(args: Namespace, stack: ExitStack) -> dict[str, datasets.SegmentationDataset]:
    """Returns the dataset opened in each way that can be measured, by what the way is called."""
    root, packed = args.data_root, args.packed
    if root is None:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root, packed = scratch / "cityscapes", scratch / "pack"
        args.dataset, args.split = "cityscapes", "train"
        write_cityscapes(root, *cityscapes_sized(args.picture), COPIES)
        plain = datasets.build(args.dataset, root, args.split)
        pack_dataset.pack(plain, packed, {}, range(COPIES), 0)
    args.crop_size = args.crop_size or datasets.spec(args.dataset).crop_size
    folders = {"files": None, "pack": packed} if packed else {"files": None}
    options = transforms.TransformOptions.from_args(args)
    ways = {}
    for source, folder in folders.items():
        for augment_on in ("loader", "device"):
            if augment_on == "device" and args.bblur:
                continue
            transform, color = transforms.build(replace(options, augment_on=augment_on))
            name = source if color is None else f"{source}, color on the device"
            extras = None if color is None else color.draw
            ways[name] = datasets.build(args.dataset, root, args.split, transform, extras, folder)
    return ways


def stages(data: datasets.SegmentationDataset, args: Namespace) -> Stages:
    """Returns the median milliseconds of each stage of a sample, and of the whole sample."""
    times: dict[str, list[float]] = {}
    samples: list[dict[str, Any] | datasets.DatasetError] = []
    draws = datasets.EpochPlan(len(data), SEED).draws(0)
    for number in range(WARM_UP + args.samples):
        draw = replace(draws[number % len(draws)], epoch=number)
        clock = Clock(times if number >= WARM_UP else {})
        if isinstance(data.source, Files):
            image, label = read_image(data.samples[draw.index].image), data.label(draw.index)
            clock.restart()
            read_image(data.samples[draw.index].image)
            clock.stop("read and decode the image")
            data.label(draw.index)
            clock.stop("read and map the label")
        else:
            image, label = data.read(draw.index)            # type: ignore[assignment]
            clock.stop("map the pair into memory")
        rng, focus = draw.rng(), draw.focus
        assert isinstance(data.transform, transforms.Compose)
        clock.restart()
        for step in data.transform.transforms:
            image, label = step(image, label, focus, rng)
            focus = None
            clock.stop(type(step).__name__)
        clock.restart()
        samples.append(data[draw])
        clock.stop("whole sample")
        if len(samples) == args.bs_mult:
            clock.restart()
            collate(samples)
            clock.stop("collate", share=args.bs_mult)
            samples = []
    return {stage: statistics.median(milliseconds) for stage, milliseconds in times.items()}


class Clock:
    """Keeps the milliseconds since the last stop, by what they went into."""

    def __init__(self, times: dict[str, list[float]]) -> None:
        self.times = times
        self.restart()

    def restart(self) -> None:
        self.start = time.perf_counter()

    def stop(self, stage: str, share: int = 1) -> None:
        self.times.setdefault(stage, []).append(1e3 * (time.perf_counter() - self.start) / share)
        self.restart()


class LongPlan(datasets.EpochPlan):
    """One long epoch, however few the images are: at the end of an epoch no batch is made ahead."""

    def __init__(self, images: int, draws: int) -> None:
        super().__init__(draws, SEED)
        self.images = images

    def draws(self, epoch: int) -> list[datasets.SampleDraw]:
        return [replace(draw, index=draw.index % self.images) for draw in super().draws(epoch)]


def loading(data: datasets.SegmentationDataset, args: Namespace, workers: int,
            samples: int) -> Iterator[dict[str, Any]]:
    """Yields batches as training loads them, for at least so many samples and some more."""
    plan = LongPlan(len(data), samples + 8 * args.bs_mult)
    yield from datasets.train_loader(data, datasets.EpochSampler(plan, args.bs_mult), workers)


def speed(data: datasets.SegmentationDataset, args: Namespace, workers: int) -> float:
    """Returns images a second that the loader gives when nothing else is done."""
    batches = loading(data, args, workers, (WARM_UP + args.batches) * args.bs_mult)
    for _ in range(WARM_UP):
        next(batches)
    start, images = time.perf_counter(), 0
    for _ in range(args.batches):
        images += len(next(batches)["name"])
    return images / (time.perf_counter() - start)


def wait(data: datasets.SegmentationDataset, args: Namespace, workers: int,
         step_ms: float) -> float:
    """Returns the share of the time that steps of a given length would wait for their batches."""
    batches = loading(data, args, workers, (WARM_UP + args.batches) * args.bs_mult)
    for _ in range(WARM_UP):
        next(batches)
        time.sleep(step_ms / 1e3)
    waited = 0.0
    for _ in range(args.batches):
        start = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - start
        time.sleep(step_ms / 1e3)
    return waited / (waited + args.batches * step_ms / 1e3)


def memory(data: datasets.SegmentationDataset, args: Namespace) -> dict[str, float]:
    """Returns megabytes of one worker's anonymous memory after `SETTLED` and after `--memory`
    samples.

    Raises:
        OSError: the system does not tell (it is not Linux).
    """
    before = {child.pid for child in multiprocessing.active_children()}
    batches, samples = loading(data, args, 1, max(args.memory, SETTLED)), 0
    amounts: dict[str, float] = {}
    while samples < max(args.memory, SETTLED):
        samples += len(next(batches)["name"])
        worker = next(child.pid
                      for child in multiprocessing.active_children() if child.pid not in before)
        if samples >= SETTLED:
            amounts.setdefault(f"{SETTLED} samples", anonymous_mb(worker))
    amounts[f"{args.memory} samples"] = anonymous_mb(worker)
    return amounts


def anonymous_mb(process: int | None) -> float:
    """Returns the memory of a process that is its own and in no file, in megabytes."""
    path = Path(f"/proc/{process}/status")
    if not path.is_file():
        raise OSError(f"--memory needs {path}, which only Linux has: leave it out.")
    line = next(line for line in path.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / 1e6


def report(result: dict[str, Any], args: Namespace) -> None:
    """Prints the tables."""
    ways = list(result["ms"])
    names = dict.fromkeys(stage for way in ways
                          for stage in result["ms"][way] if stage != "whole sample")
    print(f"milliseconds a sample (medians of {args.samples}, one core)")
    print_row("", ways)
    for stage in (*names, "whole sample"):
        print_row(stage,
                  [f"{result['ms'][way][stage]:.2f}" if stage in result["ms"][way] else "-"
                   for way in ways])
    print(f"\nbatches of {args.bs_mult}")
    for workers in args.num_workers:
        print_row(f"images/s, {workers} worker(s)",
                  [f"{result['images_per_second'][way][workers]:.1f}" for way in ways])
        for step in args.step_ms:
            print_row(f"waits, steps of {step:g} ms",
                      [f"{result['waits'][way][workers][step]:.0%}" for way in ways])
    for way, amounts in result["memory_mb"].items():
        listed = ", ".join(f"{amount:.1f} MB after {when}" for when, amount in amounts.items())
        print(f"a worker's own memory, {way}: {listed}")
    sys.stdout.flush()


def print_row(head: str, cells: list[str]) -> None:
    print(f"{head:28} " + " ".join(f"{cell:>30}" for cell in cells))
