"""Devices, the precision of a forward pass, and the state of random generators."""
from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.cli import add_switch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def add_flags(parser: ArgumentParser, *, training: bool = True) -> None:
    """Declares how a network runs.

    Args:
        training: False for programs that only predict, which also have `--exact`.
    """
    group = parser.add_argument_group("Precision")
    group.add_argument("--precision", choices=PRECISIONS,
                       help="of the network (default: bf16 where the device is fast at it, "
                            "else fp32)")
    group.add_argument("--fp16", dest="precision", action="store_const", const="fp16",
                       help="as --precision fp16")
    if not training:
        add_switch(group, "--exact", default=False,
                   help="plain float32: as --precision fp32 --no_tf32")
    add_switch(group, "--channels_last", default=True,
               help="memory format of images and features")
    add_switch(group, "--compile", default=False,
               help="compile the network with torch.compile (needs a C++ compiler)")
    add_switch(group, "--tf32", default=True,
               help="let a GPU round the factors of float32 products to TF32 (10 bits) for speed")
    add_switch(group, "--deterministic", default=False,
               help="choose GPU kernels that give the same bits in every run, with a warning for "
                    "each operation that has none")


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
            ValueError: the device cannot run the precision, or there is no compiler.
        """
        if self.compile:
            require_compiler("--compile")
        configure(self.tf32 and not self.exact, self.deterministic, one_size=one_size)
        return resolve_precision("fp32" if self.exact else self.precision, device)


def require_compiler(needed_by: str) -> None:
    """Raises ValueError if torch.compile finds no C++ compiler; `needed_by` names the feature."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(candidate) for candidate in candidates):
        raise ValueError(f"{needed_by} needs a C++ compiler, and {' or '.join(candidates)} was not "
                         "found: install one (for example: apt-get install g++), or set the "
                         "environment variable CXX.")


def configure(tf32: bool, deterministic: bool, one_size: bool = True) -> None:
    """Sets torch's global options for this process; see `PrecisionOptions`."""
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = one_size and not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def move(net: nn.Module, device: torch.device, channels_last: bool) -> None:
    """Moves a network to a device and a memory format, in place."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    net.to(device).to(memory_format=memory_format)


def generators(device: torch.device) -> dict[str, Tensor | None]:
    """Returns the states of this process's random generators that a network draws from."""
    return {"cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None}


def restore_generators(states: list[dict[str, Tensor | None]], device: torch.device, *, rank: int,
                       world_size: int) -> bool:
    """Restores this process's random generators from the states of all ranks.

    Returns:
        Whether they were restored: not if the states are those of another number of processes.
    """
    if len(states) != world_size:
        return False
    state = states[rank]
    assert state["cpu"] is not None
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    return True


def default_device() -> torch.device:
    """Returns this process's GPU if there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_precision(precision: str | None, device: torch.device) -> str:
    """Returns the precision, for None bf16 where the device is fast at it and fp32 elsewhere.

    Raises:
        ValueError: the device cannot run the precision.
    """
    if precision is None:
        return "bf16" if _is_fast_at_bf16(device) else "fp32"
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(f"--precision fp16 needs a CUDA GPU, but this runs on {device.type}: use "
                         "bf16 or fp32")
    return precision


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns torch's autocast context for a precision; a null context for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def _is_fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool({"amx_bf16", "avx512_bf16"} & _cpu_features())


def _cpu_features() -> set[str]:
    """Returns the x86 feature flags that Linux lists; empty on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return {word for line in lines if line.startswith("flags") for word in line.split()}
