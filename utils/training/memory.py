"""How much memory a process has needed."""
from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

GB = 1e9
STATES = {torch.optim.SGD: 1, torch.optim.Adam: 2, torch.optim.AdamW: 2}            # tensors kept for each parameter


def peak_memory(device: torch.device) -> float:
    """Returns the most memory, in GB, that this process held: of the GPU where it runs on one, else of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GB


def estimate(dry_run: Callable[[], None], optimizer: torch.optim.Optimizer, device: torch.device) -> str:
    """Returns words for the memory that a step will need.

    Args:
        rehearse: forward and backward of what is held at once.
        optimizer: whose state, which its first step makes, is counted beforehand.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = STATES.get(type(optimizer), 2) * sum(one.numel() * one.element_size() for one in trained) / GB
    _forget_peak(device)
    dry_run()
    peak = peak_memory(device) + state
    if device.type == "cuda":
        return f"a step needs about {peak:.2f} GB of the GPU's {torch.cuda.mem_get_info(device)[1] / GB:.1f} GB"
    return f"a step brings this process to about {peak:.2f} GB, its loader's workers not counted"


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):                             # on Linux; elsewhere the peak is that since the start
            Path("/proc/self/clear_refs").write_text("5")
