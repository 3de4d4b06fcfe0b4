"""Memory of a training step on a GPU: computed without one, and measured where there is one."""
from __future__ import annotations

import argparse
import gc
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import train
from tools.benchmark import launchers
from tools.benchmark.meta_autocast import meta_autocast
from tools.benchmark.steps import Steps
from tools.benchmark.storages import StorageTracker, rounded
from utils.cli import FlagParser, add_switch, positive_int, size
from utils.files import commit, write_text
from utils.machine import GB, peak_memory, reset_peak
from utils.precision import PRECISIONS, default_device

# memory of common GPUs in GB, and the part that is left free for CUDA itself, NCCL, the work space
# of kernels and fragments, none of which is memory of a tensor
CARDS, RESERVE = (11, 16, 24), 1.0
# steps that are measured after the first one
MEASURED_STEPS = 2
# GPUs of the published trainings, among which a launcher's global batch is divided
GPUS = 8
# flags in which launchers may differ without needing another amount of memory
IRRELEVANT = {
    "exp", "ckpt", "data_root", "dataset", "train_split", "val_split", "recipe", "pretrained",
    "snapshot", "reset_classifier", "lr", "scale_lr", "lr_schedule", "lr_step", "poly_exp",
    "warmup_steps", "head_lr_factor", "weight_decay", "decay_norms", "max_epoch", "max_iters",
    "class_uniform_pct", "class_uniform_tile", "scale_min", "scale_max", "color_aug", "gblur",
    "gblur_prob", "ohem_thresh", "ohem_min_kept", "aux_weight", "ema_decay", "precision",
    "eval_epoch", "eval_every"}


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", default="sfnet_resnet18", metavar="NAME", help="network")
    parser.add_argument("--crop_size", type=size, default=(1024, 1024),
                        help="HEIGHTxWIDTH of the crops in pixels")
    parser.add_argument("--bs_mult", type=positive_int, default=2,
                        help="images of a forward pass on one GPU")
    parser.add_argument("--precision", choices=PRECISIONS,
                        help="of the network; by default fp32 and fp16, which needs as much as "
                             "bf16")
    add_switch(parser, "--recompute", default=False,
               help="recompute the backbone's features, as train.py --recompute does")
    parser.add_argument("--launchers", nargs="*", metavar="RUN",
                        help="a table for the launchers scripts/train/train_RUN.sh in place of one "
                             "network; without names, for all of them")
    parser.add_argument("--doc", type=Path, metavar="FILE",
                        help="write the table of --launchers as a Markdown page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the bytes to this file")
    parser.add_argument("train_flags", nargs=argparse.REMAINDER, metavar="-- FLAGS",
                        help="more flags of train.py, such as --recipe ours or --adamw")


@dataclass(frozen=True)
class Options:
    """What is computed; the fields are the flags of the same name.

    Args:
        crop_size: (height, width).
        precision: None for fp32 and fp16.
        launchers: names of runs; empty for all; None for the network of the other flags.
        train_flags: more flags of train.py.

    Raises:
        ValueError: `doc` without `launchers`.
    """

    arch: str
    crop_size: tuple[int, int]
    bs_mult: int
    precision: str | None
    recompute: bool
    launchers: Sequence[str] | None
    doc: Path | None
    json: Path | None
    train_flags: Sequence[str]

    def __post_init__(self) -> None:
        if self.doc and self.launchers is None:
            raise ValueError("--doc is the page of --launchers: give both, or --json")

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        values = {name: getattr(args, name) for name in cls.__dataclass_fields__}
        values["train_flags"] = [word for word in args.train_flags if word != "--"]
        return cls(**values)

    def flags(self) -> list[str]:
        """Returns the flags of train.py, but for the precision."""
        height, width = self.crop_size
        recompute = ["--recompute"] if self.recompute else []
        return ["--arch", self.arch, "--crop_size", f"{height}x{width}",
                "--bs_mult", str(self.bs_mult), *recompute, *self.train_flags]


@dataclass(frozen=True)
class Footprint:
    """Bytes of a training step on a GPU.

    Attributes:
        weights: of the network and of its teacher, their buffers included.
        average: of the averaged weights (`--ema_decay`).
        optimizer_state: what the optimizer keeps for each parameter.
        peak: the most at a time, these three included.
    """

    weights: int
    average: int
    optimizer_state: int
    peak: int

    @property
    def features(self) -> int:
        """Features, gradients and temporary tensors at the peak."""
        return self.peak - self.weights - self.average - self.optimizer_state

    def fits(self, card: float) -> bool:
        """Returns whether a step fits into a GPU with so many GB."""
        return self.peak / GB + RESERVE <= card


@dataclass(frozen=True)
class Measured:
    """Peak bytes of steps on a GPU: their tensors, and the workspaces of their kernels.

    Attributes:
        first_step: cuDNN searches for the fastest kernels, and tries some with large workspaces.
        later_steps: those after it, with the kernels that were chosen.
    """

    first_step: int
    later_steps: int


def run(args: Namespace) -> None:
    """Computes, and prints a table. Raises ValueError or OSError as train.py does."""
    options = Options.from_args(args)
    if options.launchers is not None:
        result: Any = {"launchers": launcher_rows(options)}
    else:
        precisions = [options.precision] if options.precision else ["fp32", "fp16"]
        result = {"steps": [report(options, precision) for precision in precisions]}
    if options.json:
        result["settings"] = {"reserve_gb": RESERVE, "torch": torch.__version__,
                              "commit": commit()}
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def report(options: Options, precision: str) -> dict[str, Any]:
    """Computes, measures and prints the memory of one step; returns the bytes."""
    device = default_device()
    flags = [*options.flags(), "--precision", precision]
    train_options = train.parse(flags)
    footprint = compute(train_options, precision)
    print(f"train.py {' '.join(flags)}")
    for part in ("weights", "average", "optimizer_state", "features", "peak"):
        print(f"  {part.replace('_', ' '):16} {getattr(footprint, part) / GB:7.3f} GB")
    cards = [f"{card} GB: {'fits' if footprint.fits(card) else 'does not fit'}" for card in CARDS]
    print(f"  {', '.join(cards)} (with {RESERVE:g} GB left free for CUDA itself)")
    measured = measure(train_options, device) if device.type == "cuda" else None
    if measured:
        print(f"  {'measured here':16} {measured.later_steps / GB:7.3f} GB with the workspaces of "
              f"kernels, {footprint.peak / measured.later_steps - 1:+.1%} computed")
        print(f"  {'in the 1st step':16} {measured.first_step / GB:7.3f} GB, with the search for "
              "kernels")
    return {"flags": flags, **asdict(footprint),
            "measured": measured.later_steps if measured else None,
            "measured_first_step": measured.first_step if measured else None}


def compute(options: train.Options, precision: str) -> Footprint:
    """Follows the tensors of a step that has sizes but no memory.

    Args:
        precision: "fp32", "bf16" or "fp16".
    """
    with StorageTracker("meta") as tracker, meta_autocast(precision):
        steps = Steps(options, torch.device("meta"))
        steps.create_optimizer_state()
        steps.take(1)
    nets = [steps.net, steps.teacher.net] if steps.teacher else [steps.net]
    averaged = steps.ema.net if steps.ema else None
    state = [value for values in steps.optimizer.state.values() for value in values.values()
             if isinstance(value, Tensor) and value.device.type == "meta"]
    return Footprint(weights=sum(bytes_of(net.state_dict().values()) for net in nets),
                     average=bytes_of(averaged.state_dict().values()) if averaged else 0,
                     optimizer_state=bytes_of(state), peak=tracker.peak)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of tensors, none of which is a view of another."""
    return sum(rounded(tensor.nbytes) for tensor in tensors)


def measure(options: train.Options, device: torch.device) -> Measured | None:
    """Returns the peak bytes of steps on a GPU; None if they do not fit into it."""
    # what an earlier measurement left
    gc.collect()
    reset_peak(device)
    try:
        steps = Steps(options, device)
        # the first steps in float16 may only lower the loss scale, and would create none
        steps.create_optimizer_state()
        steps.take(1)
        first_step = peak_memory(device)
        reset_peak(device)
        steps.take(MEASURED_STEPS)
    except torch.OutOfMemoryError as error:
        print(f"  not measured: {str(error).split('. ')[0]}", file=sys.stderr)
        return None
    return Measured(first_step, peak_memory(device))


# The table of launchers


def launcher_rows(options: Options) -> list[dict[str, Any]]:
    """Prints and returns the row of each launcher, see `launcher_row`; writes the page so far."""
    known: dict[str, Footprint] = {}
    rows = []
    for name in options.launchers or launchers.names():
        rows.append(launcher_row(name, known))
        print(row_text(rows[-1]), flush=True)
        if options.doc:
            write_text(options.doc, page(rows))
    return rows


def launcher_row(run: str, known: dict[str, Footprint]) -> dict[str, Any]:
    """Computes what a run needs on each of `GPUS` GPUs, and what makes it fit.

    Args:
        known: results of other runs by their flags, extended here.

    Returns:
        "run", "arch", "crop_size", "images" (of a forward pass), "bytes" (flags -> peak, up to the
        first flags that fit into every card) and "fits" (card -> the first flags that fit, or
        None).
    """
    flags = launchers.flags_of(run)
    options = train.parse(flags)
    total = options.batching.sizes.global_batch
    # a small batch is one GPU's, since a single image has no batch statistics
    images = total // GPUS if total >= 2 * GPUS else total
    peaks: dict[str, int] = {}
    fits: dict[str, str | None] = {str(card): None for card in CARDS}
    for words in less_and_less(images):
        if None not in fits.values():
            break
        footprint = known_footprint(flags, words, images, known)
        peaks[" ".join(words)] = footprint.peak
        for card in CARDS:
            if fits[str(card)] is None and footprint.fits(card):
                fits[str(card)] = " ".join(words)
    return {"run": run, "arch": options.network.arch, "images": images,
            "crop_size": list(options.transforms.crop_size), "bytes": peaks, "fits": fits}


def less_and_less(images: int) -> Iterator[tuple[str, ...]]:
    """Yields flags with which a run of so many images a GPU needs less and less memory."""
    half, recompute = ("--precision", "fp16"), ("--recompute",)
    yield ()
    yield half
    yield half + recompute
    # a single image has no batch statistics
    if images > 2 and images % 2 == 0:
        pairs = ("--bs_mult", "2", "--accumulate", str(images // 2))
        yield half + pairs
        yield half + pairs + recompute


def known_footprint(flags: Sequence[str], words: Sequence[str], images: int,
                    known: dict[str, Footprint]) -> Footprint:
    """Computes a launcher's step with further flags, or takes it from an equal one."""
    sizes = () if "--bs_mult" in words else ("--bs_mult", str(images), "--accumulate", "1")
    options = train.parse([*flags, *sizes, "--global_batch", str(images), *words])
    precision = "fp16" if "fp16" in words else "fp32"
    relevant = {name: value for name, value in options.flags.items() if name not in IRRELEVANT}
    key = json.dumps([relevant, precision, options.data.spec.num_classes,
                      options.optimizer.ema_decay > 0], default=str)
    if key not in known:
        known[key] = compute(options, precision)
    return known[key]


def row_text(row: dict[str, Any]) -> str:
    fits = [f"{card} GB: {fit_text(row, card)}" for card in row["fits"]]
    return (f"{row['run']:42} {row['images']:2} images {row['bytes'][''] / GB:6.2f} GB in fp32; "
            f"{', '.join(fits)}")


def fit_text(row: dict[str, Any], card: str, quote: str = "") -> str:
    """Returns "yes", "no", or the flags with which a launcher fits into a card, and its peak."""
    words = row["fits"][card]
    if words is None:
        return "no"
    return f"{quote}{words}{quote} ({row['bytes'][words] / GB:.2f} GB)" if words else "yes"


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the Markdown page of the launchers."""
    cards = " | ".join(f"{card} GB" for card in CARDS)
    lines = [
        "# Memory of every launcher", "",
        "Computed, not measured, by", "", "```bash",
        "python -m tools.benchmark memory --launchers --doc results/memory.md", "```", "",
        f"with torch {torch.__version__}, without a GPU: the tensors of one training step are",
        "followed on torch's meta device, where they have sizes but no memory. GB are 10^9 bytes.",
        f"A step fits into a card if its peak leaves {RESERVE:g} GB free, for CUDA itself, NCCL,",
        "the work space of kernels and fragments.", "",
        f"- *images*: of a forward pass on one GPU, if {GPUS} GPUs share the launcher's batch; a",
        f"  batch below {2 * GPUS} is one GPU's. On fewer GPUs, `--bs_mult` with this number keeps",
        "  the memory, and the rest is accumulated.",
        "- *fp32*: the peak in GB with `--precision fp32`. fp16 and bf16 need less, both as much.",
        "- *11 GB* and so on: *yes* in fp32, or the first flags with which it fits, and the peak.",
        "",
        f"| launcher | crop | images | fp32 | {cards} |", "|---" * (4 + len(CARDS)) + "|"]
    for row in rows:
        fits = [fit_text(row, card, quote="`") for card in row["fits"]]
        crop = "x".join(map(str, row["crop_size"]))
        cells = [f"`{row['run']}`", crop, str(row["images"]), f"{row['bytes'][''] / GB:.2f}", *fits]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
