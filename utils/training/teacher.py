"""A teacher in training: its outputs for the images of a step, their cost, and its file."""
from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.files import sha256
from utils.precision import PrecisionOptions, autocast, move

# mean and standard deviation of each channel, for values in [0, 1]
Normalization = tuple[tuple[float, ...], tuple[float, ...]]


class Teacher:
    """Returns the outputs of a frozen network for the images that the student sees.

    The network is no part of the student: not in its checkpoints, its optimizer or its DDP.

    Args:
        net: a network in evaluation mode with `backbone`, `head` and its own `normalization`.
        student: the normalization of the images that it is called with.
        precision: "fp32", "bf16" or "fp16", of the forward pass.
        options: memory format and compilation.
        with_feature: also returns a feature map.
    """

    def __init__(self, net: Any, student: Normalization, *, device: torch.device, precision: str,
                 options: PrecisionOptions, with_feature: bool = False) -> None:
        self.net = net.eval().requires_grad_(False)
        self.device = device
        self.precision = precision
        self.with_feature = with_feature
        self.stopwatch = Stopwatch(device)
        move(net, device, options.channels_last)
        (mean, std), (own_mean, own_std) = (
            [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in normalization]
            for normalization in (student, net.normalization))
        # (x std + mean - own_mean) / own_std = x scale + shift
        self.scale, self.shift = std / own_std, (mean - own_mean) / own_std
        self.is_same = tuple(student) == tuple(net.normalization)
        self.network = torch.compile(self._forward) if options.compile else self._forward

    @property
    def feature_channels(self) -> int | None:
        """The channels of the feature map; None if it is not returned."""
        return self.net.backbone.out_channels[-1] if self.with_feature else None

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the teacher's outputs, which have no gradient.

        Args:
            images: (N, 3, H, W), normalized for the student.

        Returns:
            `teacher_main`, the logits (N, K, h, w); `teacher_feature`, the coarsest map of its
            backbone (N, C, h', w'), if it was asked for.
        """
        with self.stopwatch.running(), torch.inference_mode():
            if not self.is_same:
                images = torch.addcmul(self.shift, images, self.scale)
            with autocast(self.device, self.precision):
                return self.network(images)

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.net.backbone(images)
        outputs = {"teacher_main": self.net.head(maps)["main"]}
        if self.with_feature:
            outputs["teacher_feature"] = maps[-1]
        return outputs

    def describe(self, flags: Mapping[str, Any]) -> list[str]:
        """Returns a line for the log.

        Args:
            flags: the effective flags of the run.
        """
        size = sum(value.numel() for value in self.net.parameters()) / 1e6
        return [f"the teacher is {flags['teacher']} ({size:.2f} M parameters, SHA-256 "
                f"{flags['teacher_sha256']}); the student imitates {flags['distill']}"]

    def seconds(self) -> float:
        """Returns the time of the forward passes since the last call of this method."""
        return self.stopwatch.seconds()


class Stopwatch:
    """Adds up the seconds in `running`; on a CUDA device those of its kernels, without waiting."""

    def __init__(self, device: torch.device) -> None:
        self.is_cuda = device.type == "cuda"
        self.total = 0.0
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measures what is done inside."""
        if not self.is_cuda:
            begin = time.perf_counter()
            yield
            self.total += time.perf_counter() - begin
            return
        events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        events[0].record()
        yield
        events[1].record()
        self.events.append(events)

    def seconds(self) -> float:
        """Returns the sum, and begins anew."""
        if self.events:
            self.events[-1][1].synchronize()
        seconds = self.total + sum(begin.elapsed_time(end) for begin, end in self.events) / 1000
        self.total, self.events = 0.0, []
        return seconds


def set_checksum(args: Namespace, find: Callable[[str], Path]) -> None:
    """Sets `args.teacher_sha256`, by which a run that goes on knows its teacher, in place.

    Without a teacher, nothing is set.

    Args:
        args: the effective flags; of a resumed run those that it has stored.
        find: a value of `--teacher` or `--snapshot` -> the file that it stands for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is also that of `--snapshot`, or not the one that the run began with.
    """
    recorded = getattr(args, "teacher_sha256", None)
    if args.teacher is None:
        return
    path = find(args.teacher)
    if not path.is_file():
        advice = ("the run needs it to go on: bring it back, or give its new place by "
                  "--teacher FILE" if args.resume else
                  "give a checkpoint, the folder of a run or the name of a shipped network")
        raise FileNotFoundError(f"--teacher {args.teacher}: there is no such file; {advice}")
    digest = sha256(path)
    if args.resume and digest != recorded:
        raise ValueError(
            f"--teacher {args.teacher} is not the file that the run {args.resume} began with "
            f"({_short(digest)}, not {_short(recorded)}): restore that file, give its place by "
            "--teacher FILE, or start a new run under another --exp")
    if not args.resume and args.snapshot and _is_same(find(args.snapshot), path):
        raise ValueError(f"--teacher {args.teacher} is also the file of --snapshot: a student that "
                         "starts as its teacher has nothing to learn from it. Give another teacher")
    args.teacher_sha256 = digest


def _short(digest: str | None) -> str:
    return f"SHA-256 {digest[:12]}..." if digest else "no teacher"


def _is_same(path: Path, other: Path) -> bool:
    return path.is_file() and path.samefile(other)
