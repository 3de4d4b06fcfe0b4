"""Images a second of training against a plain loop or another setting, interleaved, and where a
step's time goes.
"""
from __future__ import annotations

import argparse
import json
import shlex
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import datasets
import network
import train
from utils.cli import FlagParser, positive_int
from utils.files import write_text
from utils.precision import autocast
from utils.training.memory import peak_memory

# steps: workers, caches, kernels chosen by size
WARM_UP = 3
FOREVER = (
    "--val_split", "none", "--max_iters", "1000000", "--log_every", "1000000", "--checkpoint_every",
    "1000000",
)


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--rounds", type=positive_int, default=7,
                        help="alternations of the two loops")
    parser.add_argument("--steps", type=positive_int, default=10,
                        help="steps of each loop in a round")
    parser.add_argument(
        "--against", metavar="FLAGS",
        help="compare with train.py under these flags too, not with the "
        "plain loop; one word, as in --against='--precision fp32 --no_channels_last'",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rounds to this file")
    parser.add_argument("train_flags", nargs=argparse.REMAINDER, metavar="-- FLAGS",
                        help="the run, as train.py's flags")


def run(args: Namespace) -> None:
    """Times both loops, and prints what they took. Raises ValueError or OSError as train.py
    does.
    """
    flags = [word for word in args.train_flags if word != "--"]
    result = compare(flags, args.rounds, args.steps, args.against)
    for name, speed in result["images_per_second"].items():
        print(f"{name:12} {speed:6.2f} images/s")
    print(f"{'ratio':12} {result['ratio']:6.2f} (medians of {args.rounds} interleaved rounds of "
          f"{args.steps} steps)")
    for name, parts in result["step"].items():
        whole = sum(parts.values())
        print(f"{name:12} step of {1000 * whole:.0f} ms: "
              + ", ".join(f"{part} {1000 * seconds:.0f} ms ({seconds / whole:.1%})"
                          for part, seconds in parts.items()))
    print(f"{'memory':12} {result['peak_memory_gb']:.2f} GB at most")
    if args.json:
        write_text(args.json, json.dumps(result, indent=2) + "\n")


def compare(train_flags: list[str], rounds: int, steps: int,
            against: str | None = None) -> dict[str, Any]:
    """Returns the median images a second of two loops, the median of the rounds' ratios, the
    rounds, and where the seconds of a step go.

    Args:
        against: flags that the second loop, train.py again, has in addition; the second is the
            plain loop when None.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        options = train.parse([*train_flags, "--ckpt", scratch, "--exp", "benchmark", *FOREVER])
        first = opened.enter_context(closing(train.Training(options)))
        timed = {"train.py": Steps(first)}
        loops: dict[str, Callable[[int], None]] = {"train.py": timed["train.py"].run}
        if against is None:
            loops["plain loop"] = PlainLoop(options, first.device, first.precision).run
        else:
            words = [*train_flags, *shlex.split(against), "--ckpt", scratch, "--exp", "against",
                     *FOREVER]
            timed["against"] = Steps(
                opened.enter_context(closing(train.Training(train.parse(words))))
            )
            loops["against"] = timed["against"].run
        batches = {
            name: timed[name].images if name in timed else options.batching.sizes.global_batch
            for name in loops
        }
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for loop in loops.values():
            loop(WARM_UP)
        for _ in range(rounds):
            for name, loop in loops.items():
                start = time.perf_counter()
                loop(steps)
                speeds[name].append(steps * batches[name] / (time.perf_counter() - start))
        parts = {name: speeds_of_loop.parts(steps) for name, speeds_of_loop in timed.items()}
    ratios = [speed / other for speed, other in zip(*speeds.values(), strict=True)]
    return {"images_per_second": {name: statistics.median(speeds_of_loop)
                                  for name, speeds_of_loop in speeds.items()},
            "ratio": statistics.median(ratios),
            "rounds": speeds,
            "step": parts,
            "peak_memory_gb": peak_memory(first.device),
            "settings": {"flags": train_flags, "against": against, "precision": first.precision,
                         "device": str(first.device), "threads": torch.get_num_threads(),
                         "torch": torch.__version__, "steps": steps}}


class Steps:
    """Takes steps of a run, with loading, averaging and schedule; a step has `images` images."""

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
            terms = training.train_step(batch)
            assert terms is not None
            # wait for a GPU
            terms["main"].item()
            training.progress.step += 1
        timer.stop()

    def parts(self, steps: int) -> dict[str, float]:
        """Returns the mean seconds of each part of a step: a GPU finishes each before the next."""
        training, timer = self.training, PartTimer(self.training.device)
        model, criterion = training.model, training.criterion
        training.model = TimedCall(model, timer, "forward", "loss")  # type: ignore[assignment]
        training.criterion = TimedCall(criterion, timer, "loss",  # type: ignore[assignment]
                                       "backward")
        hook = training.optimizer.register_step_pre_hook(lambda *_: timer.start("update"))
        self.run(steps, timer)
        hook.remove()
        training.model, training.criterion = model, criterion
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
    """A module whose calls are a part of the step, with the part that follows them."""

    def __init__(self, module: torch.nn.Module, timer: PartTimer, part: str,
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
    """What one writes in an afternoon: whole images resized, full-size logits, OHEM by a sort,
    autocast, one loader.
    """

    def __init__(self, options: train.Options, device: torch.device, precision: str) -> None:
        data_options, transform = options.data, options.transforms
        data = datasets.build(data_options.spec, data_options.data_root, data_options.train_split)
        self.device, self.precision, self.loss = device, precision, options.loss
        net = network.build(options.network.arch, data.spec.num_classes,
                            options.network.deep_supervision)
        self.net = net.to(device).train()
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), options.optimizer.lr, options.optimizer.momentum,
            weight_decay=options.optimizer.weight_decay)
        crops = PlainCrops(data, transform.crop_size, transform.scale_min, transform.scale_max)
        workers = data_options.num_workers
        self.loader = DataLoader(crops, options.batching.sizes.global_batch, shuffle=True,
                                 drop_last=True, num_workers=workers,
                                 persistent_workers=workers > 0)
        self.batches = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        for _ in range(steps):
            images, labels = (part.to(self.device) for part in next(self.batches))
            with autocast(self.device, self.precision):
                outputs = self.net(images)
            loss = torch.stack([self.ohem(logits.float(), labels)
                                for logits in outputs.values()]).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()

    def ohem(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != 255
        scores = logits.softmax(1).gather(1, labels.masked_fill(~valid, 0)[:, None])[:, 0]
        ranked = scores[valid].sort().values
        least = min(int(self.loss.ohem_min_kept), len(ranked) - 1)
        hard = valid & (scores <= ranked[least].clamp(min=self.loss.ohem_thresh))
        return F.cross_entropy(logits, labels.masked_fill(~hard, 255), ignore_index=255)


class PlainCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random scale, crop and flip of whole images; normalized in the worker."""

    def __init__(self, data: datasets.SegmentationDataset, crop: tuple[int, int], low: float,
                 high: float) -> None:
        self.data, self.crop, self.low, self.high = data, crop, low, high

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.data[index]
        image, label = sample["image"].permute(1, 2, 0).numpy(), sample["label"].numpy()
        scale = np.random.uniform(self.low, self.high)
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        missing = [max(0, side - length)
                   for side, length in zip(self.crop, label.shape, strict=True)]
        if any(missing):
            image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT,
                                       value=(0, 0, 0))
            label = cv2.copyMakeBorder(label, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT,
                                       value=255)
        top, left = (np.random.randint(length - side + 1)
                     for side, length in zip(self.crop, label.shape, strict=True))
        window = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        image, label = image[window], label[window]
        if np.random.rand() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        mean, std = (np.array(values, np.float32)
                     for values in (self.data.spec.mean, self.data.spec.std))
        pixels = (image.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(
            label.astype(np.int64)
        )
