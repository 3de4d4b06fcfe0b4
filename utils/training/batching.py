"""How the images of a step are divided among processes and forward passes."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from utils import distributed
from utils.cli import add_switch, positive_int, positive_number

LOSS_NORMS = ("global", "rank")
DEFAULT_BS_MULT = 2             # without --bs_mult and --global_batch


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Distribution")
    group.add_argument("--bs_mult", type=positive_int,
                       help="images of a forward pass, per process "
                            f"(default: {DEFAULT_BS_MULT}, or what --global_batch leaves)")
    group.add_argument("--accumulate", type=positive_int,
                       help="forward passes whose gradients add up to one step (default: 1, or "
                            "what --global_batch asks for); batch norms still see one pass at a "
                            "time")
    group.add_argument("--global_batch", type=positive_int,
                       help="images of a step over all processes; --bs_mult or --accumulate "
                            "follows (default: --bs_mult times --accumulate times processes)")
    group.add_argument("--loss_norm", choices=LOSS_NORMS, default=LOSS_NORMS[0],
                       help="average the loss over the pixels of the whole step (global), or of "
                            "each forward pass alone (rank)")
    add_switch(group, "--syncbn", default=True,
               help="batch normalization over the batches of all processes")
    add_switch(group, "--apex", default=False,
               help="NVIDIA Apex's DDP and SyncBN instead of torch's")
    group.add_argument("--timeout", type=positive_number, default=distributed.DEFAULT_TIMEOUT,
                       help="minutes that a process waits for a silent one before the run ends")


@dataclass(frozen=True)
class BatchSizes:
    """The images of a step: `global_batch` = world size * `accumulate` * `bs_mult`."""

    global_batch: int
    bs_mult: int
    accumulate: int


@dataclass(frozen=True)
class BatchingOptions:
    """The fields are the flags of the same name; `sizes` is derived from those given."""

    sizes: BatchSizes
    loss_norm: str = LOSS_NORMS[0]
    syncbn: bool = True
    apex: bool = False
    timeout: float = distributed.DEFAULT_TIMEOUT

    @classmethod
    def from_args(cls, args: Namespace) -> BatchingOptions:
        """Derives the sizes that are not given; see `batch_sizes`."""
        world_size = distributed.expected_world_size()
        sizes = batch_sizes(world_size, bs_mult=args.bs_mult, accumulate=args.accumulate,
                            global_batch=args.global_batch, resume=bool(args.resume))
        return cls(sizes=sizes, loss_norm=args.loss_norm, syncbn=args.syncbn, apex=args.apex,
                   timeout=args.timeout)

    @property
    def images_per_norm(self) -> int:
        """Returns the number of images over which a batch normalization takes its statistics."""
        return self.sizes.bs_mult * (distributed.expected_world_size() if self.syncbn else 1)

    def describe(self) -> str:
        """Returns the images of a step, and their factors, in words."""
        sizes = self.sizes
        processes = "process" if distributed.world_size() == 1 else "processes"
        micro = "micro-batch" if sizes.accumulate == 1 else "micro-batches"
        return (f"{sizes.global_batch} images ({distributed.world_size()} {processes} x "
                f"{sizes.accumulate} {micro} x {sizes.bs_mult} images)")

    def notes(self) -> list[str]:
        """Returns what a user of `--accumulate` must know."""
        if self.sizes.accumulate == 1:
            return []
        return [f"  batch normalization sees {self.images_per_norm} images at a time: "
                "accumulation does not widen it"]


def batch_sizes(world_size: int, *, bs_mult: int | None, accumulate: int | None,
                global_batch: int | None, resume: bool = False) -> BatchSizes:
    """Derives the sizes that are None from the others.

    Args:
        resume: the run is resumed, perhaps with another world size: its global batch stays, and a
            forward pass gets at most as many images as before.

    Raises:
        ValueError: the global batch cannot be divided evenly; the message lists the world sizes
            that divide it.
    """
    if global_batch is None:
        bs_mult, accumulate = bs_mult or DEFAULT_BS_MULT, accumulate or 1
        return BatchSizes(world_size * bs_mult * accumulate, bs_mult, accumulate)
    if global_batch % world_size:
        divisors = [n for n in range(1, global_batch + 1) if global_batch % n == 0]
        raise ValueError(f"a global batch of {global_batch} images cannot be divided among "
                         f"{world_size} processes: start {', '.join(map(str, divisors))} of them, "
                         "or change --global_batch")
    per_process = global_batch // world_size
    if resume and bs_mult:
        sizes = range(1, min(bs_mult, per_process) + 1)
        bs_mult = max(size for size in sizes if per_process % size == 0)
        accumulate = None
    bs_mult = bs_mult or (per_process // accumulate if accumulate else per_process)
    accumulate = accumulate or per_process // bs_mult
    if bs_mult * accumulate != per_process:
        raise ValueError(f"--global_batch {global_batch} leaves each of {world_size} process(es) "
                         f"{per_process} images, which is not --bs_mult {bs_mult} times "
                         f"--accumulate {accumulate}: leave one of them out")
    return BatchSizes(global_batch, bs_mult, accumulate)
