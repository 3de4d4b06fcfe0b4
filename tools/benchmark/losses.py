"""Cost of the criteria beside torch's cross entropy: time, and peak memory in fresh processes."""
from __future__ import annotations

import json
import math
import multiprocessing
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import loss
from utils import IGNORE_LABEL, machine
from utils.cli import FlagParser, positive_int, size
from utils.files import write_text
from utils.precision import default_device

# fraction of labels that are ignored, and `min_kept` of OHEM
IGNORED_FRACTION, KEPT = 0.1, 100_000
# kind of logits -> what is added to the true class; for "trained" logits `min_kept` decides
BONUS = {"random": 0.0, "trained": 9.0}
BASELINE = "F.cross_entropy"
# (logits, labels) -> scalar
Function = Callable[[Tensor, Tensor], Tensor]


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The baseline: torch's mean cross entropy of logits resized to the labels."""
    return F.cross_entropy(_full_size(logits, labels), labels, ignore_index=IGNORE_LABEL)


def sorted_ohem(logits: Tensor, labels: Tensor) -> Tensor:
    """OHEM as it is often written: softmax of every pixel, and a full sort."""
    logits = _full_size(logits, labels)
    valid = labels != IGNORE_LABEL
    classes = labels.masked_fill(~valid, 0)[:, None]
    # 2 is above every probability, so the ignored pixels sort last
    scores = logits.softmax(1).gather(1, classes)[:, 0].masked_fill(~valid, 2.0)
    ranked = scores.flatten().sort().values
    threshold = ranked[min(KEPT, len(ranked)) - 1].clamp(min=0.7)
    hard_labels = labels.masked_fill(~valid | (scores > threshold), IGNORE_LABEL)
    return F.cross_entropy(logits, hard_labels, ignore_index=IGNORE_LABEL)


def _full_size(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[-2:] == labels.shape[-2:]:
        return logits
    return F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)


def _sum_of_terms(build: Callable[[], loss.Criterion], logits: Tensor, labels: Tensor) -> Tensor:
    terms = build()({"main": logits}, labels)
    return sum(terms.values(), start=logits.new_zeros((), dtype=torch.float32))


FUNCTIONS: dict[str, Function] = {
    BASELINE: mean_cross_entropy,
    "CrossEntropy": partial(_sum_of_terms, loss.CrossEntropy),
    "OhemCrossEntropy": partial(_sum_of_terms, partial(loss.OhemCrossEntropy, 0.7, KEPT)),
    "OHEM by a sort": sorted_ohem,
    "FocalLoss": partial(_sum_of_terms, loss.FocalLoss),
    "ImageWeightedCrossEntropy": partial(_sum_of_terms, loss.ImageWeightedCrossEntropy),
    "RelaxedCrossEntropy": partial(_sum_of_terms, loss.RelaxedCrossEntropy),
    "DiceLoss": partial(_sum_of_terms, loss.DiceLoss),
    "LovaszSoftmax": partial(_sum_of_terms, loss.LovaszSoftmax),
}


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--size", type=size, default=(1024, 1024),
                        help="HEIGHTxWIDTH of the labels in pixels")
    parser.add_argument("--batch", type=positive_int, default=2, help="images in a batch")
    parser.add_argument("--classes", type=positive_int, default=19, help="number of classes")
    parser.add_argument("--stride", type=positive_int, default=1,
                        help="stride of the logits; most heads have 4")
    parser.add_argument("--criteria", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS),
                        metavar="NAME",
                        help=f"criteria measured beside {BASELINE}: {', '.join(FUNCTIONS)}")
    parser.add_argument("--rounds", type=positive_int, default=7,
                        help="number of interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the measurements to this file")


@dataclass(frozen=True)
class Options:
    """What is measured; the fields are the flags of the same name.

    Args:
        size: (height, width) of the labels.
        stride: of the logits.
        criteria: keys of `FUNCTIONS`.
    """

    size: tuple[int, int]
    batch: int
    classes: int
    stride: int
    criteria: Sequence[str]
    rounds: int
    json: Path | None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})


def run(args: Namespace) -> None:
    """Measures, and prints a table."""
    options = Options.from_args(args)
    measurements = measure(options)
    print(table(measurements))
    if options.json:
        write_text(options.json, json.dumps(measurements, indent=2) + "\n")


def measure(options: Options) -> dict[str, Any]:
    """Returns seconds of each round and peak bytes, by kind of logits and criterion."""
    names = list(dict.fromkeys([BASELINE, *options.criteria]))
    shape = (options.batch, options.classes, *options.size)
    device = default_device()
    results: dict[str, dict[str, Any]] = {}
    for kind in BONUS:
        seconds = _rounds(names, case(kind, shape, options.stride, device), options.rounds)
        results[kind] = {}
        for name in names:
            peak_bytes = peak_memory(name, kind, shape, options.stride)
            results[kind][name] = {"seconds": seconds[name], "peak_bytes": peak_bytes}
    settings = {
        "shape": list(shape), "stride": options.stride, "kept": KEPT,
        "void_share": IGNORED_FRACTION, "rounds": options.rounds,
        "threads": torch.get_num_threads(), "device": str(device), "torch": torch.__version__}
    return {"results": results, "settings": settings}


def case(kind: str, shape: Sequence[int], stride: int,
         device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns seeded logits and labels: squares of 64 pixels, some of them ignored.

    Args:
        kind: a key of `BONUS`.
        shape: (N, K, H, W) of full-size logits.
        stride: of the logits.
    """
    batch, classes, height, width = shape
    generator = torch.Generator().manual_seed(0)
    squares = torch.randint(0, classes, (batch, math.ceil(height / 64), math.ceil(width / 64)),
                            generator=generator)
    squares[torch.rand(squares.shape, generator=generator) < IGNORED_FRACTION] = IGNORE_LABEL
    labels = squares.repeat_interleave(64, 1).repeat_interleave(64, 2)
    labels = labels[:, :height, :width].contiguous()
    logits = torch.randn(batch, classes, math.ceil(height / stride), math.ceil(width / stride),
                         generator=generator)
    coarse = labels[:, ::stride, ::stride]
    true_classes = coarse.masked_fill(coarse == IGNORE_LABEL, 0)[:, None]
    logits.scatter_add_(1, true_classes, torch.full(true_classes.shape, BONUS[kind]))
    return logits.to(device), labels.to(device)


def step(function: Function, logits: Tensor, labels: Tensor) -> None:
    """Runs a forward and a backward pass, and waits for the device."""
    function(logits.detach().requires_grad_(), labels).backward()
    if logits.is_cuda:
        torch.cuda.synchronize()


def _rounds(names: Sequence[str], inputs: tuple[Tensor, Tensor],
            rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of each function in each round; a round runs all functions."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        # warm up
        step(FUNCTIONS[name], *inputs)
    for _ in range(rounds):
        for name in names:
            start = time.perf_counter()
            step(FUNCTIONS[name], *inputs)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def peak_memory(name: str, kind: str, shape: Sequence[int], stride: int) -> int:
    """Returns the peak memory in bytes of a step in a fresh process, above that before the step."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, kind, tuple(shape), stride, torch.get_num_threads()))


def _peak(name: str, kind: str, shape: Sequence[int], stride: int, threads: int) -> int:
    torch.set_num_threads(threads)
    device = default_device()
    logits, labels = case(kind, shape, stride, device)
    # a small step first, which loads libraries
    step(FUNCTIONS[name], *case(kind, (1, 2, 64, 64), stride, device))
    # a new peak begins at the memory that is in use
    machine.reset_peak(device)
    before = machine.peak_memory(device)
    step(FUNCTIONS[name], logits, labels)
    return machine.peak_memory(device) - before


def table(measurements: dict[str, Any]) -> str:
    """Returns a line per criterion: milliseconds, MB, and both relative to the baseline."""
    lines = []
    for kind, results in measurements["results"].items():
        lines.append(f"{kind + ' logits':28} {'ms':>8} {'times':>7} {'peak MB':>9} {'times':>7}")
        baseline = results[BASELINE]
        for name, result in results.items():
            milliseconds = 1e3 * statistics.median(result["seconds"])
            # of each round, so that both saw the same load of the machine
            ratios = [seconds / of_baseline for seconds, of_baseline
                      in zip(result["seconds"], baseline["seconds"], strict=True)]
            megabytes = result["peak_bytes"] / 1e6
            times_memory = result["peak_bytes"] / max(1, baseline["peak_bytes"])
            lines.append(f"{name:28} {milliseconds:8.1f} {statistics.median(ratios):7.2f} "
                         f"{megabytes:9.1f} {times_memory:7.2f}")
    settings = measurements["settings"]
    shape = "x".join(map(str, settings["shape"]))
    lines.append(f"forward and backward, {shape}, logits at stride {settings['stride']}; medians "
                 f"of {settings['rounds']} interleaved rounds; times: of {BASELINE}")
    return "\n".join(lines)
