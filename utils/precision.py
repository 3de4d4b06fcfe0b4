"""Devices, the precision of a forward pass, and the state of random generators."""
from __future__ import annotations

import logging
import os
import re
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from utils.cli import add_switch
from utils.machine import cpu_features

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# of Triton, with which torch.compile makes kernels for a GPU
COMPILED_CAPABILITY = (7, 0)
# fraction of a GPU's memory that other processes may hold without a warning
MAX_TAKEN = 0.5

ON_THE_CPU = "an empty CUDA_VISIBLE_DEVICES runs this on the CPU"
OTHER_GPU = "choose another GPU with CUDA_VISIBLE_DEVICES=N"
TAKEN_GPU = ("other processes have taken the GPU (nvidia-smi lists them): wait for their end, or "
             f"{OTHER_GPU}")
OLDER_TORCH = "https://pytorch.org/get-started/previous-versions"
# part of torch's message why it cannot use the GPUs -> what to do
CUDA_REMEDIES = {
    "driver on your system is too old": "update NVIDIA's driver, or install a torch for an older "
                                        f"CUDA ({OLDER_TORCH})",
    "busy or unavailable": TAKEN_GPU,
    "CUDA error: out of memory": TAKEN_GPU,
    "No CUDA GPUs are available": "CUDA_VISIBLE_DEVICES names none of the GPUs that nvidia-smi -L "
                                  "lists: correct it",
}

log = logging.getLogger(__name__)


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
        add_switch(group, "--cuda_graphs", default=True,
                   help="on a GPU, start the network's kernels all at once for images of a shape "
                        "that comes again (not with --compile)")
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
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        if self.exact and self.precision not in (None, "fp32"):
            raise ValueError(f"--exact is float32, and clashes with --precision {self.precision}: "
                             "give one of them")

    @classmethod
    def from_args(cls, args: Namespace) -> PrecisionOptions:
        return cls(precision=args.precision, exact=getattr(args, "exact", False),
                   channels_last=args.channels_last, compile=args.compile, tf32=args.tf32,
                   deterministic=args.deterministic,
                   cuda_graphs=getattr(args, "cuda_graphs", True))

    def apply(self, device: torch.device, *, one_size: bool) -> str:
        """Configures this process; returns the effective precision.

        Args:
            one_size: images are of few sizes, so that cuDNN's search for the fastest kernels pays.

        Raises:
            ValueError: the device cannot run the precision, or there is no compiler.
        """
        if self.compile:
            require_compiler("--compile", device)
        configure(self.tf32 and not self.exact, self.deterministic, one_size=one_size)
        return resolve_precision("fp32" if self.exact else self.precision, device)


def require_compiler(needed_by: str, device: torch.device | None = None) -> None:
    """Raises ValueError if torch.compile cannot compile here; `needed_by` names the feature.

    Args:
        device: a GPU needs Triton besides a C++ compiler; None compiles for the CPU.
    """
    if device is not None and device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < COMPILED_CAPABILITY:
            raise ValueError(f"{needed_by} needs a GPU of compute capability 7.0 or more, and "
                             f"{torch.cuda.get_device_name(device)} has {_dotted(capability)}: "
                             f"leave it out, or {OTHER_GPU}")
        if find_spec("triton") is None:
            raise ValueError(f"{needed_by} needs Triton on a GPU: install it (pip install triton), "
                             "or leave it out")
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


@contextmanager
def without_kernel_search() -> Iterator[None]:
    """Switches off cuDNN's search for the fastest kernels, which each new image size repeats."""
    was_on = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = was_on


def move(net: nn.Module, device: torch.device, channels_last: bool) -> None:
    """Moves a network to a device and a memory format, in place."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    net.to(device).to(memory_format=memory_format)


def round_weights(net: nn.Module, precision: str) -> None:
    """Rounds the weights of convolutions to the precision of the network, in place.

    Autocast rounds them in the same way, but again for each batch: on a GPU, one more kernel for
    each weight. A network that is trained keeps its float32 weights.

    timm's convolutions that standardize their weights, which have an `eps`, stay as they are:
    autocast rounds their weights after that.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and not hasattr(module, "eps"):
            module.to(PRECISIONS[precision])


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
    """Returns this process's GPU if there is one, else Apple's, else the CPU.

    Raises:
        ValueError: there is an NVIDIA GPU that cannot be used. The message says why, what to do,
            and how to run on the CPU.
    """
    problem = why_no_cuda()
    if problem is None:
        device = torch.device("cuda", torch.cuda.current_device())
        check_gpu(device)
        return device
    remedies = [remedy for part, remedy in CUDA_REMEDIES.items() if part in problem]
    if remedies or torch.cuda.is_available():
        raise ValueError(f"torch {torch.__version__} cannot use the GPU ({problem}): "
                         f"{'; or '.join([*remedies, ON_THE_CPU])}")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def why_no_cuda() -> str | None:
    """Returns why torch uses no NVIDIA GPU in this process; None if it uses one."""
    if not torch.backends.cuda.is_built():
        return "this torch is built without CUDA"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides every GPU"
    try:
        torch.cuda.init()
        # opens the GPU, which fails if it is taken
        torch.cuda.mem_get_info(torch.cuda.current_device())
    except (RuntimeError, AssertionError) as error:
        # the first sentence
        message = re.split(r"\.\s|\n", str(error))[0]
        if "no NVIDIA driver" in message:
            return "NVIDIA's driver, which a GPU needs, is not installed"
        if "No CUDA GPUs" in message and visible is None:
            return "NVIDIA's driver finds no GPU"
        return message
    return None


def check_gpu(device: torch.device) -> None:
    """Checks that torch has kernels for a GPU; warns if other processes hold most of its memory.

    Raises:
        ValueError: torch has no kernels for the GPU.
    """
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    compiled_for = torch.cuda.get_arch_list()
    if torch.version.hip is None and not has_kernels(capability, compiled_for):
        raise ValueError(f"{name} has compute capability {_dotted(capability)}, for which torch "
                         f"{torch.__version__} has no kernels (only {', '.join(compiled_for)}): "
                         f"{OTHER_GPU}, install an older torch ({OLDER_TORCH}), or use the CPU "
                         f"({ON_THE_CPU})")
    free, total = torch.cuda.mem_get_info(device)
    taken = total - free - torch.cuda.memory_reserved(device)
    if taken > MAX_TAKEN * total:
        log.warning("other processes hold %.1f of the %.1f GB of GPU %s (%s): stop them "
                    "(nvidia-smi lists them), or %s", taken / 1e9, total / 1e9, device.index, name,
                    OTHER_GPU)


def has_kernels(capability: tuple[int, int], compiled_for: Iterable[str]) -> bool:
    """Returns whether a GPU runs what torch was compiled for.

    Binary code (`sm_86`) runs on the same major and at least this minor capability, intermediate
    code (`compute_90`) on at least this capability.

    Args:
        capability: (major, minor) of the GPU.
        compiled_for: the entries of `torch.cuda.get_arch_list()`; none means that it is unknown.
    """
    entries = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", entry) for entry in compiled_for]
    major, minor = capability
    for entry in filter(None, entries):
        needed = int(entry[2]), int(entry[3])
        is_same_major = needed[0] == major
        if needed <= (major, minor) and (is_same_major or entry[1] == "compute"):
            return True
    return not any(entries)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def resolve_precision(precision: str | None, device: torch.device) -> str:
    """Returns the precision, for None bf16 where the device is fast at it and fp32 elsewhere.

    Raises:
        ValueError: the device cannot run the precision.
    """
    if precision is None:
        return "bf16" if _is_fast_at_bf16(device) else "fp32"
    if precision == "fp16" and device.type != "cuda":
        problem = why_no_cuda()
        reason = f" ({problem})" if problem else ""
        raise ValueError(f"--precision fp16 needs a CUDA GPU, but this runs on {device.type}"
                         f"{reason}: use bf16 or fp32")
    return precision


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns torch's autocast context for a precision; a null context for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def _is_fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool({"amx_bf16", "avx512_bf16"} & cpu_features())

