"""Activation checkpointing: features that are computed again in the backward pass instead of being kept."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(parent: nn.Module) -> int:
    """Lets each child of a module that is a sequence of layers keep its input alone; returns how many there are.

    The numbers stay the same: dropout draws the same again, and batch statistics are moved by the first pass only.
    """
    stages = [child for child in parent.children() if isinstance(child, nn.Sequential | nn.ModuleList) and len(child)]
    parts = [part for stage in stages for part in (stage if isinstance(stage, nn.ModuleList) else [stage])]
    for part in parts:
        part.forward = partial(_forward, part, part.forward)
    return len(parts)


def _forward(module: nn.Module, forward: Any, *features: Any) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*features)
    return checkpoint(forward, *features, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    return nullcontext(), _buffers_kept(module)


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    buffers = list(module.buffers())
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in zip(buffers, kept, strict=True):
                buffer.copy_(before)
