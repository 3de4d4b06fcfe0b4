"""What the criteria cost beside torch's cross entropy: time in interleaved rounds, peak memory in fresh processes."""
from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import loss
from utils.cli import FlagParser, positive_int, size
from utils.files import write_text
from utils.precision import default_device

IGNORE, VOID_SHARE, KEPT = 255, 0.1, 100_000
RAISED = {"random": 0.0, "trained": 9.0}        # of the right class; then the kept count decides
BASELINE = "F.cross_entropy"
Function = Callable[[Tensor, Tensor], Tensor]


def torchs(logits: Tensor, labels: Tensor) -> Tensor:
    """The baseline: logits resized to the labels where they are smaller, and torch's mean cross entropy."""
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(logits, labels, ignore_index=IGNORE)


def sorted_ohem(logits: Tensor, labels: Tensor) -> Tensor:
    """OHEM as it is often written: softmax of every pixel, and a full sort."""
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    valid = labels != IGNORE
    scores = logits.softmax(1).gather(1, labels.masked_fill(~valid, 0)[:, None])[:, 0].masked_fill(~valid, 2.0)
    ranked = scores.flatten().sort().values
    threshold = ranked[min(KEPT, len(ranked)) - 1].clamp(min=0.7)
    return F.cross_entropy(logits, labels.masked_fill(~valid | (scores > threshold), IGNORE), ignore_index=IGNORE)


def _term(make: Callable[[], loss.Criterion], logits: Tensor, labels: Tensor) -> Tensor:
    return sum(make()({"main": logits}, labels).values(), start=logits.new_zeros((), dtype=torch.float32))


FUNCTIONS: dict[str, Function] = {
    BASELINE: torchs,
    "CrossEntropy": partial(_term, loss.CrossEntropy),
    "OhemCrossEntropy": partial(_term, partial(loss.OhemCrossEntropy, 0.7, KEPT)),
    "OHEM by a sort": sorted_ohem,
    "FocalLoss": partial(_term, loss.FocalLoss),
    "ImageWeightedCrossEntropy": partial(_term, loss.ImageWeightedCrossEntropy),
    "RelaxedCrossEntropy": partial(_term, loss.RelaxedCrossEntropy),
    "DiceLoss": partial(_term, loss.DiceLoss),
    "LovaszSoftmax": partial(_term, loss.LovaszSoftmax),
}


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--size", type=size, default=(1024, 1024), help="HEIGHTxWIDTH of the labels")
    parser.add_argument("--batch", type=positive_int, default=2, help="images")
    parser.add_argument("--classes", type=positive_int, default=19, help="classes")
    parser.add_argument("--stride", type=positive_int, default=1, help="of the logits: 4 is that of most heads here")
    parser.add_argument("--criteria", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS), metavar="NAME",
                        help=f"what to measure beside {BASELINE}: {', '.join(FUNCTIONS)}")
    parser.add_argument("--rounds", type=positive_int, default=7, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")


def run(args: Namespace) -> None:
    """Measures, and prints a table."""
    found = measure(args)
    print(table(found))
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")


def measure(args: Namespace) -> dict[str, Any]:
    """Returns for each kind of logits and each criterion the seconds of its rounds, and its peak memory."""
    names = list(dict.fromkeys([BASELINE, *args.criteria]))
    shape = (args.batch, args.classes, *args.size)
    device = default_device()
    results = {}
    for kind in RAISED:
        seconds = _rounds(names, kind, shape, args.stride, args.rounds, device)
        results[kind] = {name: {"seconds": seconds[name], "peak_bytes": peak_memory(name, kind, shape, args.stride)}
                         for name in names}
    return {"results": results, "settings": {
        "shape": list(shape), "stride": args.stride, "kept": KEPT, "void_share": VOID_SHARE, "rounds": args.rounds,
        "threads": torch.get_num_threads(), "device": str(device), "torch": torch.__version__}}


def case(kind: str, shape: Sequence[int], stride: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns seeded logits at a stride and labels: squares of one class, some of them ignored."""
    batch, classes, height, width = shape
    generator = torch.Generator().manual_seed(0)
    small = (-(-height // 64), -(-width // 64))
    squares = torch.randint(0, classes, (batch, *small), generator=generator)
    squares[torch.rand(squares.shape, generator=generator) < VOID_SHARE] = IGNORE
    labels = squares.repeat_interleave(64, 1).repeat_interleave(64, 2)[:, :height, :width].contiguous()
    logits = torch.randn(batch, classes, -(-height // stride), -(-width // stride), generator=generator)
    coarse = labels[:, ::stride, ::stride]
    right = coarse.masked_fill(coarse == IGNORE, 0)[:, None]
    logits.scatter_add_(1, right, torch.full(right.shape, RAISED[kind]))
    return logits.to(device), labels.to(device)


def step(function: Function, logits: Tensor, labels: Tensor) -> None:
    """One forward and backward pass, to its end."""
    function(logits.detach().requires_grad_(), labels).backward()
    if logits.is_cuda:
        torch.cuda.synchronize()


def _rounds(names: Sequence[str], kind: str, shape: Sequence[int], stride: int, rounds: int,
            device: torch.device) -> dict[str, list[float]]:
    logits, labels = case(kind, shape, stride, device)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):                        # the first round warms up
        for name in names:
            start = time.perf_counter()
            step(FUNCTIONS[name], logits, labels)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def peak_memory(name: str, kind: str, shape: Sequence[int], stride: int) -> int:
    """Returns the bytes that a fresh process holds at most above what it held before its first step."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, kind, tuple(shape), stride, torch.get_num_threads()))


def _peak(name: str, kind: str, shape: Sequence[int], stride: int, threads: int) -> int:
    torch.set_num_threads(threads)
    device = default_device()
    logits, labels = case(kind, shape, stride, device)
    step(FUNCTIONS[name], *case(kind, (1, 2, 64, 64), stride, device))       # loads what is loaded once
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
        step(FUNCTIONS[name], logits, labels)
        return torch.cuda.max_memory_allocated() - base
    base = _high_water(anew=True)
    step(FUNCTIONS[name], logits, labels)
    return _high_water() - base


def _high_water(anew: bool = False) -> int:
    """Returns the most bytes that this process has held, on Linux counted `anew` from here on."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    line, = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def table(found: dict[str, Any]) -> str:
    """Returns a line a criterion: milliseconds, MB, and how many times the baseline's each is, by kind of logits."""
    lines = []
    for kind, results in found["results"].items():
        lines.append(f"{kind + ' logits':28} {'ms':>8} {'times':>7} {'peak MB':>9} {'times':>7}")
        baseline = results[BASELINE]
        for name, own in results.items():
            ratios = [mine / other for mine, other in zip(own["seconds"], baseline["seconds"], strict=True)]
            lines.append(f"{name:28} {1e3 * statistics.median(own['seconds']):8.1f} {statistics.median(ratios):7.2f} "
                         f"{own['peak_bytes'] / 1e6:9.1f} {own['peak_bytes'] / max(1, baseline['peak_bytes']):7.2f}")
    shape = "x".join(map(str, found["settings"]["shape"]))
    return "\n".join([*lines, f"forward and backward, {shape}, logits at stride {found['settings']['stride']}; medians "
                              f"of {found['settings']['rounds']} interleaved rounds; times: of {BASELINE}"])
