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
from contextlib import ExitStack, closing, contextmanager
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
    parser.add_argument(
        "--rounds", type=positive_int, default=7, help="alternations of the two loops"
    )
    parser.add_argument(
        "--steps", type=positive_int, default=10, help="steps of each loop in a round"
    )
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
    found = compare(flags, args.rounds, args.steps, args.against)
    for name, speed in found["images_per_second"].items():
        print(f"{name:12} {speed:6.2f} images/s")
    print(
        f"{'ratio':12} {found['ratio']:6.2f} (medians of {args.rounds} interleaved rounds of "
        f"{args.steps} steps)"
    )
    for name, parts in found["step"].items():
        whole = sum(parts.values())
        print(
            f"{name:12} step of {1000 * whole:.0f} ms: "
            + ", ".join(
                f"{part} {1000 * each:.0f} ms ({each / whole:.1%})" for part, each in parts.items()
            )
        )
    print(f"{'memory':12} {found['peak_memory_gb']:.2f} GB at most")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")


def compare(
    train_flags: list[str], rounds: int, steps: int, against: str | None = None
) -> dict[str, Any]:
    """Returns the median images a second of two loops, the median of the rounds' ratios, the
    rounds, and where the seconds of a step go.

    Args:
        against: flags that the second loop, train.py again, has in addition; the second is the
            plain loop when None.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        flags = train.parse([*train_flags, "--ckpt", scratch, "--exp", "benchmark", *FOREVER])
        first = opened.enter_context(closing(train.Training(flags)))
        timed = {"train.py": Steps(first)}
        loops: dict[str, Callable[[int], None]] = {"train.py": timed["train.py"].run}
        if against is None:
            loops["plain loop"] = PlainLoop(flags, first.device, first.precision).run
        else:
            words = [
                *train_flags, *shlex.split(against), "--ckpt", scratch, "--exp", "against",
                *FOREVER,
            ]
            timed["against"] = Steps(
                opened.enter_context(closing(train.Training(train.parse(words))))
            )
            loops["against"] = timed["against"].run
        batches = {
            name: timed[name].images if name in timed else flags.global_batch for name in loops
        }
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for loop in loops.values():
            loop(WARM_UP)
        for _ in range(rounds):
            for name, loop in loops.items():
                start = time.perf_counter()
                loop(steps)
                speeds[name].append(steps * batches[name] / (time.perf_counter() - start))
        parts = {name: each.parts(steps) for name, each in timed.items()}
    ratios = [own / other for own, other in zip(*speeds.values(), strict=True)]
    return {
        "images_per_second": {name: statistics.median(each) for name, each in speeds.items()},
        "ratio": statistics.median(ratios), "rounds": speeds, "step": parts,
        "peak_memory_gb": peak_memory(first.device),
        "settings": {
            "flags": train_flags, "against": against, "precision": first.precision,
            "device": str(first.device), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "steps": steps,
        },
    }


class Steps:
    """Takes steps of a run, its loading, averaging and schedule included; `images` are those of a
    step.
    """

    def __init__(self, training: train.Training) -> None:
        self.training, self.batches = training, training.batches()
        self.images = training.args.global_batch

    def run(self, steps: int) -> None:
        stepper = self.training.stepper
        for _ in range(steps):
            with stepper.clock("data"):
                batch = next(self.batches)
            terms = stepper.step(batch, self.training.step)
            assert terms is not None
            with stepper.clock("update"):
                terms["main"].item()
            self.training.step += 1

    def parts(self, steps: int) -> dict[str, float]:
        """Returns the seconds of each part of a step, the mean of some: a GPU finishes each part
        before the next.
        """
        seconds: dict[str, float] = {}

        @contextmanager
        def clock(part: str) -> Iterator[None]:
            start = time.perf_counter()
            yield
            if self.training.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

        stepper = self.training.stepper
        before, stepper.clock = stepper.clock, clock
        self.run(steps)
        stepper.clock = before
        return {part: each / steps for part, each in seconds.items()}


class PlainLoop:
    """What one writes in an afternoon: whole images resized, full-size logits, OHEM by a sort,
    autocast, one loader.
    """

    def __init__(self, flags: Namespace, device: torch.device, precision: str) -> None:
        data = datasets.build(flags.dataset, flags.data_root, flags.train_split)
        self.flags, self.device, self.precision = flags, device, precision
        self.net = (
            network.build(flags.arch, data.spec.num_classes, flags.fpn_dsn_loss or flags.aux)
            .to(device)
            .train()
        )
        self.optimizer = torch.optim.SGD(self.net.parameters(), flags.lr, flags.momentum,
                                         weight_decay=flags.weight_decay)
        crops = PlainCrops(data, flags.crop_size, flags.scale_min, flags.scale_max)
        self.loader = DataLoader(
            crops, flags.global_batch, shuffle=True, drop_last=True, num_workers=flags.num_workers,
            persistent_workers=flags.num_workers > 0,
        )
        self.batches = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        for _ in range(steps):
            images, labels = (part.to(self.device) for part in next(self.batches))
            with autocast(self.device, self.precision):
                outputs = self.net(images)
            loss = torch.stack(
                [self.ohem(logits.float(), labels) for logits in outputs.values()]
            ).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()

    def ohem(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != 255
        scores = logits.softmax(1).gather(1, labels.masked_fill(~valid, 0)[:, None])[:, 0]
        ranked = scores[valid].sort().values
        least = min(int(self.flags.ohem_min_kept), len(ranked) - 1)
        hard = valid & (scores <= ranked[least].clamp(min=self.flags.ohem_thresh))
        return F.cross_entropy(logits, labels.masked_fill(~hard, 255), ignore_index=255)


class PlainCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random scale, crop and flip of whole images; normalized in the worker."""

    def __init__(
        self, data: datasets.SegmentationDataset, crop: tuple[int, int], low: float, high: float
    ) -> None:
        self.data, self.crop, self.low, self.high = data, crop, low, high

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.data[index]
        image, label = sample["image"].permute(1, 2, 0).numpy(), sample["label"].numpy()
        scale = np.random.uniform(self.low, self.high)
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        missing = [max(0, side - own) for side, own in zip(self.crop, label.shape, strict=True)]
        if any(missing):
            image = cv2.copyMakeBorder(
                image, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT, value=(0, 0, 0)
            )
            label = cv2.copyMakeBorder(
                label, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT, value=255
            )
        top, left = (
            np.random.randint(own - side + 1)
            for side, own in zip(self.crop, label.shape, strict=True)
        )
        window = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        image, label = image[window], label[window]
        if np.random.rand() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        mean, std = (
            np.array(each, np.float32) for each in (self.data.spec.mean, self.data.spec.std)
        )
        pixels = (image.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(
            label.astype(np.int64)
        )
