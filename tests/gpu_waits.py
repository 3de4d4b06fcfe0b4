"""Finds waits for a real GPU; `tests/simulated_cuda.py` finds them without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def waiting_is_an_error(device: torch.device) -> Iterator[None]:
    """While active, an operator for which the host waits for the GPU raises RuntimeError."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
