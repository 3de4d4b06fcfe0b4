"""How much memory a process has needed."""
from __future__ import annotations

import resource
import sys

import torch

GB = 1e9


def peak_memory(device: torch.device) -> float:
    """Returns the most memory, in GB, that this process held: of the GPU where it runs on one, else of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GB
