"""Depthwise convolutions are trained in float32 on a CPU.

In bfloat16 their backward pass is slower there than in float32, while all other convolutions are
faster. Measured with oneDNN, a batch of 4 images, bfloat16 against float32: 240 channels of 30x40,
3x3, stride 2, 62 against 2.4 ms with AMX and 15 against 1.3 ms with AVX512-BF16; 144 channels of
93x123, 5x5, stride 2, 197 against 33 ms with AVX512-BF16.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Class of a convolution -> its subclass that is also a `Float32Training`.
_SUBCLASSES: dict[type[nn.Module], type[nn.Module]] = {}


class Float32Training(nn.Conv2d):
    """A convolution that is computed in float32 under autocast on a CPU if gradients are recorded.

    Inference, GPUs and networks without autocast are not affected.
    """

    def forward(self, features: Tensor) -> Tensor:
        is_trained = torch.is_grad_enabled() and features.device.type == "cpu"
        if not is_trained or not torch.is_autocast_enabled("cpu"):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float())

    def __reduce__(self) -> tuple[Any, ...]:
        # pickle cannot find by name a class that was made at run time
        base = next(base for base in type(self).__mro__ if not issubclass(base, Float32Training))
        return _rebuild, (base,), self.__dict__


def train_depthwise_in_float32(net: nn.Module) -> None:
    """Makes every depthwise convolution of a network a `Float32Training`, in place.

    The modules keep their parameters. The new class of a module also has the old class as a base,
    because timm has subclasses of `nn.Conv2d`.
    """
    for module in net.modules():
        if is_depthwise(module) and not isinstance(module, Float32Training):
            module.__class__ = _with_float32_training(type(module))


def is_depthwise(module: nn.Module) -> bool:
    """Returns whether the module is a convolution of several groups with one input channel each."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _rebuild(base: type[nn.Module]) -> nn.Module:
    """Returns a convolution that pickle then fills."""
    subclass = _with_float32_training(base)
    return subclass.__new__(subclass)


def _with_float32_training(base: type[nn.Module]) -> type[nn.Module]:
    if base not in _SUBCLASSES:
        _SUBCLASSES[base] = type(base.__name__, (Float32Training, base), {})
    return _SUBCLASSES[base]
