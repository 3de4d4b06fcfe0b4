"""Images per second of training, against a plain loop or other flags, in interleaved rounds."""
from __future__ import annotations

import argparse
import json
import shlex
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import datasets
import network
import train
from network.normalization import IMAGENET
from tools.benchmark.loader import PREFETCHED, timed_batches
from utils import IGNORE_LABEL
from utils.cli import FlagParser, positive_int
from utils.files import write_text
from utils.machine import GB, peak_memory
from utils.precision import autocast

# steps before the timed ones: workers start, and kernels are chosen
WARM_UP = 3
FOREVER = ("--val_split", "none", "--max_iters", "1000000", "--log_every", "1000000",
           "--checkpoint_every", "1000000")


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--rounds", type=positive_int, default=7,
                        help="number of interleaved rounds")
    parser.add_argument("--steps", type=positive_int, default=10,
                        help="steps of each loop in a round; more if they are not a multiple of "
                             "--num_workers")
    parser.add_argument("--against", metavar="FLAGS",
                        help="compare with train.py under these flags too, not with the plain "
                             "loop; one word, as in --against='--precision fp32 --no_flip'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rounds to this file")
    parser.add_argument("train_flags", nargs=argparse.REMAINDER, metavar="-- FLAGS",
                        help="the run, as flags of train.py")


@dataclass(frozen=True)
class Options:
    """What is timed; the fields are the flags of the same name.

    Args:
        train_flags: the run, as flags of train.py.
        against: further flags of the second run; None for the plain loop.
    """

    train_flags: Sequence[str]
    rounds: int = 7
    steps: int = 10
    against: str | None = None
    json: Path | None = None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        train_flags = [word for word in args.train_flags if word != "--"]
        return cls(train_flags, args.rounds, args.steps, args.against, args.json)

    def parse(self, scratch: str, name: str) -> train.Options:
        """Returns the options of a run of train.py that does not end.

        Args:
            scratch: folder for the run's folder `name`.
        """
        more = shlex.split(self.against or "") if name == "against" else []
        return train.parse([*self.train_flags, *more, "--ckpt", scratch, "--exp", name, *FOREVER])


def run(args: Namespace) -> None:
    """Times both loops, and prints a table. Raises ValueError or OSError as train.py does."""
    options = Options.from_args(args)
    result = compare(options)
    for name, speed in result["images_per_second"].items():
        print(f"{name:12} {speed:6.2f} images/s")
    print(f"{'ratio':12} {result['ratio']:6.2f} (medians of {options.rounds} interleaved rounds of "
          f"{result['settings']['steps']} steps)")
    for name, parts in result["step"].items():
        total = sum(parts.values())
        listed = ", ".join(f"{part} {1000 * seconds:.0f} ms ({seconds / total:.1%})"
                           for part, seconds in parts.items())
        print(f"{name:12} step of {1000 * total:.0f} ms: {listed}")
    print(f"{'memory':12} {result['peak_memory_gb']:.2f} GB at most")
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def compare(options: Options) -> dict[str, Any]:
    """Times the run and its rival.

    Returns:
        "images_per_second" (medians), "ratio" (median of the rounds' ratios), "rounds" (all
        images per second), "step" (seconds of each part of a step), "peak_memory_gb" and
        "settings".
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        train_options = options.parse(scratch, "benchmark")
        training = stack.enter_context(closing(train.Training(train_options)))
        loops: dict[str, Loop] = {"train.py": TrainingLoop(training)}
        if options.against is None:
            loops["plain loop"] = PlainLoop(train_options, training.device, training.precision)
        else:
            rival = train.Training(options.parse(scratch, "against"))
            loops["against"] = TrainingLoop(stack.enter_context(closing(rival)))
        workers = train_options.data.num_workers
        steps = timed_batches(options.steps, workers, of_each=1)
        speeds = time_rounds(loops, options.rounds, steps, PREFETCHED * workers)
        parts = {name: loop.parts(options.steps) for name, loop in loops.items()
                 if isinstance(loop, TrainingLoop)}
    ratios = [speed / rival for speed, rival in zip(*speeds.values(), strict=True)]
    medians = {name: statistics.median(of_loop) for name, of_loop in speeds.items()}
    return {
        "images_per_second": medians, "ratio": statistics.median(ratios), "rounds": speeds,
        "step": parts, "peak_memory_gb": peak_memory(training.device) / GB,
        "settings": {
            "flags": list(options.train_flags), "against": options.against,
            "precision": training.precision, "device": str(training.device),
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "steps": steps}}


def time_rounds(loops: Mapping[str, Loop], rounds: int, steps: int,
                loaded: int) -> dict[str, list[float]]:
    """Returns the images per second of each loop in each round.

    Args:
        loaded: batches that a loop's workers load in advance while the other loop runs; they are
            used up before the loop is timed.
    """
    for loop in loops.values():
        loop.run(WARM_UP)
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            loop.use_up(loaded)
            start = time.perf_counter()
            loop.run(steps)
            speeds[name].append(steps * loop.images / (time.perf_counter() - start))
    return speeds


class Loop(Protocol):
    """A training loop; a step has `images` images."""

    images: int

    def run(self, steps: int) -> None:
        """Takes steps, and waits for the device."""

    def use_up(self, count: int) -> None:
        """Takes batches without training on them."""


class TrainingLoop:
    """The loop of a run of train.py: its steps, with loading, averaging of weights and schedule."""

    def __init__(self, training: train.Training) -> None:
        self.training = training
        self.batches = training.load_batches()
        self.images = training.options.batching.sizes.global_batch

    def run(self, steps: int, timer: PartTimer | None = None) -> None:
        training, timer = self.training, timer or PartTimer(self.training.device)
        for _ in range(steps):
            timer.start("data")
            batch = next(self.batches)
            timer.start("prepare")
            terms = training.train_step(batch).terms
            assert terms is not None
            # waits for a GPU
            terms["main"].item()
            training.progress.step += 1
        timer.stop()

    def use_up(self, count: int) -> None:
        for _ in range(count):
            next(self.batches)
            self.training.progress.step += 1

    def parts(self, steps: int) -> dict[str, float]:
        """Returns the mean seconds of each part of a step; a GPU ends each before the next."""
        training, timer = self.training, PartTimer(self.training.device)
        model, criterion, teacher = training.model, training.criterion, training.teacher
        following = "teacher" if teacher else "loss"
        training.model = TimedCall(model, timer, "forward", following)  # type: ignore[assignment]
        if teacher:
            training.teacher = TimedCall(teacher, timer, "teacher",  # type: ignore[assignment]
                                         "loss")
        training.criterion = TimedCall(criterion, timer, "loss",  # type: ignore[assignment]
                                       "backward")
        hook = training.optimizer.register_step_pre_hook(lambda *_: timer.start("update"))
        self.run(steps, timer)
        hook.remove()
        training.model, training.criterion, training.teacher = model, criterion, teacher
        return {part: seconds / steps for part, seconds in timer.seconds.items()}


class PartTimer:
    """Adds up the seconds of the parts of a step, which follow each other without gaps."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.part = ""
        self.began = 0.0

    def start(self, part: str) -> None:
        """Ends the current part and begins another."""
        self.stop()
        self.part, self.began = part, time.perf_counter()

    def stop(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        if self.part:
            elapsed = time.perf_counter() - self.began
            self.seconds[self.part] = self.seconds.get(self.part, 0.0) + elapsed
        self.part = ""


class TimedCall:
    """A function whose calls are a part of the step, followed by another part."""

    def __init__(self, module: Callable[..., Any], timer: PartTimer, part: str,
                 following: str) -> None:
        self.module = module
        self.timer = timer
        self.part = part
        self.following = following

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.timer.start(self.part)
        outputs = self.module(*args, **kwargs)
        self.timer.start(self.following)
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


class PlainLoop:
    """The loop that is written first: whole images resized, full-size logits, OHEM by a sort."""

    def __init__(self, options: train.Options, device: torch.device, precision: str) -> None:
        data_options, transform = options.data, options.transforms
        data = datasets.build(data_options.spec, data_options.data_root, data_options.train_split)
        self.device = device
        self.precision = precision
        self.loss = options.loss
        self.images = options.batching.sizes.global_batch
        net = network.build(options.network.arch, data.spec.num_classes,
                            options.network.deep_supervision)
        self.net = net.to(device).train()
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), options.optimizer.lr, options.optimizer.momentum,
            weight_decay=options.optimizer.weight_decay)
        crops = PlainCrops(data, transform.crop_size, scale_min=transform.scale_min,
                           scale_max=transform.scale_max)
        workers = data_options.num_workers
        self.loader = DataLoader(crops, self.images, shuffle=True, drop_last=True,
                                 num_workers=workers, persistent_workers=workers > 0)
        self.batches = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        for _ in range(steps):
            images, labels = (part.to(self.device) for part in next(self.batches))
            with autocast(self.device, self.precision):
                outputs = self.net(images)
            terms = [self.ohem(logits.float(), labels) for logits in outputs.values()]
            loss = torch.stack(terms).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()

    def use_up(self, count: int) -> None:
        for _ in range(count):
            next(self.batches)

    def ohem(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != IGNORE_LABEL
        classes = labels.masked_fill(~valid, 0)[:, None]
        scores = logits.softmax(1).gather(1, classes)[:, 0]
        ranked = scores[valid].sort().values
        min_kept = min(int(self.loss.ohem_min_kept), len(ranked) - 1)
        hard = valid & (scores <= ranked[min_kept].clamp(min=self.loss.ohem_thresh))
        hard_labels = labels.masked_fill(~hard, IGNORE_LABEL)
        return F.cross_entropy(logits, hard_labels, ignore_index=IGNORE_LABEL)


class PlainCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random scale, crop and flip of whole images; normalized in the worker.

    Args:
        crop: (height, width) in pixels.
        scale_min, scale_max: range of the random scale.
    """

    def __init__(self, data: datasets.SegmentationDataset, crop: tuple[int, int], *,
                 scale_min: float, scale_max: float) -> None:
        self.data = data
        self.crop = crop
        self.scale_range = (scale_min, scale_max)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.data[index]
        image, label = sample["image"].permute(1, 2, 0).numpy(), sample["label"].numpy()
        scale = np.random.uniform(*self.scale_range)
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        image, label = self.random_crop(*self.pad(image, label))
        if np.random.rand() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        mean, std = (np.array(values, np.float32) for values in IMAGENET)
        pixels = (image.astype(np.float32) / 255 - mean) / std
        return (torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
                torch.from_numpy(label.astype(np.int64)))

    def pad(self, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pads a pair at the bottom and on the right to at least the size of a crop."""
        bottom, right = (max(0, side - length)
                         for side, length in zip(self.crop, label.shape, strict=True))
        if bottom == right == 0:
            return image, label
        return (cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT,
                                   value=(0, 0, 0)),
                cv2.copyMakeBorder(label, 0, bottom, 0, right, cv2.BORDER_CONSTANT,
                                   value=IGNORE_LABEL))

    def random_crop(self, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        top, left = (np.random.randint(length - side + 1)
                     for side, length in zip(self.crop, label.shape, strict=True))
        height, width = self.crop
        window = slice(top, top + height), slice(left, left + width)
        return image[window], label[window]
