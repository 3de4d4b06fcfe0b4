"""Finds, before a training, the batch normalizations that would see one value per channel."""
from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# factors of the crop's height and width that are tried, to name a crop that is large enough
LARGER = (2, 4, 8)


class _SingleValue(Exception):
    """A batch normalization got one value per channel. Arguments: its name, height and width."""


def check_batch_statistics(net: nn.Module, crop_size: tuple[int, int], images: int) -> None:
    """Checks that each batch normalization has more than one value per channel in a training.

    A copy of the network without values (on torch's device "meta") computes the shapes.

    Args:
        net: the network, with the frozen parts of the training frozen.
        crop_size: (height, width) in pixels.
        images: over which a batch normalization takes its statistics: those of a forward pass, in
            all processes if it is synchronized.

    Raises:
        ValueError: a normalization would have no variance. The message names it, and what to do.
    """
    # two images are two values in each channel
    if images > 1:
        return
    shapes = _without_values(net)
    try:
        _forward(shapes, crop_size)
    except _SingleValue as error:
        name, *size = error.args
        raise ValueError(_message(shapes, name, "x".join(map(str, size)), crop_size)) from None


def _without_values(net: nn.Module) -> nn.Module:
    """Returns a copy in training mode whose batch normalizations check the size of their input."""
    shapes = copy.deepcopy(net).to("meta").train()
    for name, module in shapes.named_modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(partial(_check_input, name))
    return shapes


def _check_input(name: str, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    shape = inputs[0].shape
    if norm.training and shape.numel() == shape[1]:
        raise _SingleValue(name, *shape[2:])


@torch.no_grad()
def _forward(shapes: nn.Module, size: tuple[int, int]) -> None:
    """Runs one image without values. Raises _SingleValue, and ValueError as the network does."""
    shapes(torch.empty(1, 3, *size, device="meta"), upsample=False)


def _message(shapes: nn.Module, name: str, size: str, crop_size: tuple[int, int]) -> str:
    height, width = crop_size
    larger = [(factor * height, factor * width) for factor in LARGER]
    enough = next((crop for crop in larger if _can_train(shapes, crop)), None)
    crop = f"larger crops (crop_size={enough[0]}x{enough[1]}), " if enough else ""
    return (f"the batch normalization {name} sees one map of {size} for a crop of {height}x{width}:"
            f" a single value per channel has no variance. Use {crop}2 images per process "
            "(batch_size=2), several processes with synchronized batch normalization, or keep the "
            "statistics of the loaded weights (fix_bn=True)")


def _can_train(shapes: nn.Module, crop_size: tuple[int, int]) -> bool:
    try:
        _forward(shapes, crop_size)
    except (_SingleValue, ValueError):
        return False
    return True
