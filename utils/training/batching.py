"""How the images of a step are divided among processes and forward passes."""
from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from utils import distributed
from utils.cli import add_switch, positive_int, positive_number

BATCH = 2                                                   # images of a process without --bs_mult and --global_batch


def add_flags(parser: ArgumentParser) -> None:
    """Declares how a run is shared among processes."""
    group = parser.add_argument_group("Distribution")
    group.add_argument("--bs_mult", type=positive_int,
                       help=f"images of a forward pass, per process (default: {BATCH}, or what --global_batch leaves)")
    group.add_argument("--accumulate", type=positive_int,
                       help="forward passes whose gradients make one step (default: 1, or what --global_batch asks "
                            "for); it does not widen batch normalization")
    group.add_argument("--global_batch", type=positive_int,
                       help="images of a step over all processes; the batch of each, or --accumulate, follows")
    add_switch(group, "--syncbn", default=True, help="batch normalization over the batches of all processes")
    add_switch(group, "--apex", default=False, help="NVIDIA Apex's DDP and SyncBN instead of torch's")
    group.add_argument("--timeout", type=positive_number, default=distributed.DEFAULT_TIMEOUT,
                       help="minutes that a process waits for a silent one before the run ends")


@dataclass(frozen=True)
class Batching:
    """How the images of a step are shared out: `global_batch` = processes * `accumulate` * `bs_mult`."""

    global_batch: int
    bs_mult: int
    accumulate: int


def batching(processes: int, bs_mult: int | None, accumulate: int | None, global_batch: int | None,
             again: bool = False) -> Batching:
    """Derives what was not given from what was.

    Args:
        again: the run goes on, perhaps with another number of processes: its global batch stays, and a forward pass
            gets no more images than before.

    Raises:
        ValueError: the global batch cannot be shared evenly.
    """
    if global_batch is None:
        bs_mult, accumulate = bs_mult or BATCH, accumulate or 1
        return Batching(processes * bs_mult * accumulate, bs_mult, accumulate)
    if global_batch % processes:
        fits = [count for count in range(1, global_batch + 1) if global_batch % count == 0]
        raise ValueError(f"a global batch of {global_batch} images cannot be shared by {processes} processes: start "
                         f"{', '.join(map(str, fits))} of them, or change --global_batch")
    own = global_batch // processes
    if again and bs_mult:
        bs_mult, accumulate = max(size for size in range(1, min(bs_mult, own) + 1) if own % size == 0), None
    known = bs_mult or (own // accumulate if accumulate else own)
    steps = accumulate or own // known
    if known * steps != own:
        raise ValueError(f"--global_batch {global_batch} leaves each of {processes} process(es) {own} images, which "
                         f"--bs_mult {known} and --accumulate {steps} do not make: leave one of them out")
    return Batching(global_batch, known, steps)
