"""Devices and the precision of a forward pass."""
from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from utils.cli import add_switch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def add_flags(parser: ArgumentParser, *, training: bool = True) -> None:
    """Declares how a network runs, for every program that runs one."""
    group = parser.add_argument_group("Precision")
    group.add_argument("--precision", choices=PRECISIONS,
                       help="of the network; without it bf16 where the device is fast at it, else fp32")
    group.add_argument("--fp16", dest="precision", action="store_const", const="fp16", help="as --precision fp16")
    if not training:
        add_switch(group, "--exact", default=False, help="keep the network's float32: as --precision fp32 --no_tf32")
    add_switch(group, "--channels_last", default=True, help="lay images and features out channels last")
    add_switch(group, "--compile", default=False, help="compile the network (torch.compile; needs a C++ compiler)")
    add_switch(group, "--tf32", default=True, help="let a GPU round float32 factors to TF32 (10 bits) for speed")
    add_switch(group, "--deterministic", default=False,
               help="choose GPU kernels that give the same bits again, warning of each that does not exist")


@dataclass(frozen=True)
class PrecisionOptions:
    """How a network runs; the fields are the flags of the same name.

    Raises:
        ValueError: `exact` with another precision than fp32.
    """

    precision: str | None = None
    exact: bool = False
    channels_last: bool = True
    compile: bool = False
    tf32: bool = True
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.exact and self.precision not in (None, "fp32"):
            raise ValueError(f"--exact is float32, and clashes with --precision {self.precision}: "
                             "give one of them")

    @classmethod
    def from_args(cls, args: Namespace) -> PrecisionOptions:
        return cls(precision=args.precision, exact=getattr(args, "exact", False),
                   channels_last=args.channels_last, compile=args.compile, tf32=args.tf32,
                   deterministic=args.deterministic)

    def apply(self, device: torch.device, *, one_size: bool) -> str:
        """Configures this process; returns the effective precision.

        Args:
            one_size: images are of few sizes, so that cuDNN's search for the fastest kernels pays.

        Raises:
            ValueError: the device cannot run the precision.
        """
        configure(self.tf32 and not self.exact, self.deterministic, one_size=one_size)
        return resolve_precision("fp32" if self.exact else self.precision, device)


def configure(tf32: bool, deterministic: bool, one_size: bool = True) -> None:
    """Sets what holds for the whole process; `one_size`: images are of few sizes, each worth a search for kernels."""
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = one_size and not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def start(args: Namespace, device: torch.device) -> str:
    """Sets what the flags of a program that only predicts say for the whole process; returns its precision.

    Raises:
        ValueError: `--exact` beside another precision, or the device cannot run the precision.
    """
    if args.exact and args.precision not in (None, "fp32"):
        raise ValueError(f"--exact is float32, and clashes with --precision {args.precision}: give one of them")
    configure(args.tf32 and not args.exact, args.deterministic, one_size=False)
    return resolve_precision("fp32" if args.exact else args.precision, device)


def generators(device: torch.device) -> dict[str, Tensor | None]:
    """Returns the states of the random generators that a network draws from in this process."""
    return {"cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None}


def restore_generators(states: list[dict[str, Tensor | None]], device: torch.device, rank: int,
                       processes: int) -> bool:
    """Sets this process's generators to those of its rank; leaves them alone and returns False where the number of
    processes is another."""
    if len(states) != processes:
        return False
    own = states[rank]
    assert own["cpu"] is not None
    torch.set_rng_state(own["cpu"])
    if device.type == "cuda" and own["cuda"] is not None:
        torch.cuda.set_rng_state(own["cuda"], device)
    return True


def default_device() -> torch.device:
    """Returns this process's GPU where there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_precision(precision: str | None, device: torch.device) -> str:
    """Returns the named precision, or for None bf16 where the device is fast at it and fp32 elsewhere.

    Raises:
        ValueError: the device cannot run the precision.
    """
    if precision is None:
        return "bf16" if _fast_at_bf16(device) else "fp32"
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(f"--precision fp16 needs a CUDA GPU, but this runs on {device.type}: use bf16 or fp32")
    return precision


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns the context in which a network runs at a precision; nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def _fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool({"amx_bf16", "avx512_bf16"} & _cpu_features())


def _cpu_features() -> set[str]:
    """The x86 feature flags as Linux lists them; empty where there is no such list."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    return {word for line in lines if line.startswith("flags") for word in line.split()}
