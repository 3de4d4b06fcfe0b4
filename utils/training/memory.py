"""Activation checkpointing, which trades time for memory."""
from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Context = AbstractContextManager[object]


# image size of the forward pass that finds the stages; every backbone takes multiples of 64
SMALL = (64, 128)


def recompute(backbone: nn.Module) -> int:
    """Makes the stages of a backbone recompute their features in backward.

    Only the features between stages are stored (`torch.utils.checkpoint`). The numbers stay the
    same: dropout draws the same numbers again, and only the first pass updates the running
    statistics of batch norms.

    Args:
        backbone: images (N, 3, H, W) -> list of feature maps.

    Returns:
        The number of stages.

    Raises:
        ValueError: it has no stages.
    """
    stages = list(_outermost(backbone, _modules_that_return_a_tensor(backbone)))
    if not stages:
        raise ValueError(f"--recompute finds no stages in {type(backbone).__name__}: leave it out, "
                         "and reduce --bs_mult or --crop_size")
    for stage in stages:
        stage.forward = partial(_recomputed_forward, stage, stage.forward)
    return len(stages)


@torch.no_grad()
def _modules_that_return_a_tensor(backbone: nn.Module) -> set[nn.Module]:
    """Returns the modules that a forward pass calls, and whose output is a single tensor.

    A sequence whose layers are called one by one is not among them, but its layers are.
    """
    called: set[nn.Module] = set()

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            called.add(module)

    hooks = [module.register_forward_hook(note) for module in backbone.modules()]
    was_training = backbone.training
    # running statistics stay as they are
    backbone.eval()
    try:
        backbone(next(backbone.parameters()).new_zeros(1, 3, *SMALL))
    finally:
        backbone.train(was_training)
        for hook in hooks:
            hook.remove()
    return called


def _outermost(module: nn.Module, called: Container[nn.Module]) -> Iterator[nn.Module]:
    """Yields the outermost of the called modules that consist of several layers."""
    for child in module.children():
        if child in called and any(child.children()):
            yield child
        else:
            yield from _outermost(child, called)


def _recomputed_forward(module: nn.Module, forward: Any, *features: Any, **options: Any) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*features, **options)
    return checkpoint(forward, *features, use_reentrant=False,
                      context_fn=partial(_contexts, module), **options)


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
