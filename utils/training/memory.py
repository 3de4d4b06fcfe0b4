"""Activation checkpointing, which trades time for memory."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Context = AbstractContextManager[object]


def recompute(module: nn.Module) -> int:
    """Makes the stages of a module recompute their features in backward (`torch.utils.checkpoint`).

    The numbers stay the same: dropout draws the same numbers again, and only the first pass updates
    the running statistics of batch norms.

    Args:
        module: its children that are sequences of layers are the stages.

    Returns:
        The number of stages.
    """
    sequences = [child for child in module.children()
                 if isinstance(child, nn.Sequential | nn.ModuleList) and len(child)]
    stages: list[nn.Module] = []
    for sequence in sequences:
        stages += sequence if isinstance(sequence, nn.ModuleList) else [sequence]
    for stage in stages:
        stage.forward = partial(_recomputed_forward, stage, stage.forward)
    return len(stages)


def _recomputed_forward(module: nn.Module, forward: Any, *features: Any) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*features)
    return checkpoint(forward, *features, use_reentrant=False,
                      context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[Context, Context]:
    """Returns the contexts of the forward pass and of its recomputation."""
    return nullcontext(), _keeping_buffers(module)


@contextmanager
def _keeping_buffers(module: nn.Module) -> Iterator[None]:
    """Restores the module's buffers at the end of a `with` block."""
    buffers = list(module.buffers())
    values = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
