"""How random weights are drawn, before any file is read."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from network.backbones.timm import TimmBackbone


def he(convolution: nn.Conv2d) -> None:
    """Normal with variance 2 / fan-in, bias 0 (He et al., ICCV 2015, arXiv 1502.01852), as ResNet has."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def uniform(convolution: nn.Conv2d) -> None:
    """Leaves what torch drew when the convolution was made: uniform with variance 1 / (3 fan-in)."""


INITIALIZATIONS: dict[str, Callable[[nn.Conv2d], None]] = {"uniform": uniform, "he": he}


def initialize(net: nn.Module, how: str) -> None:
    """Draws the weights of every convolution; batch norms stay at scale 1 and shift 0, and timm's backbones as timm
    drew them.

    Raises:
        ValueError: nothing is called so.
    """
    if how not in INITIALIZATIONS:
        raise ValueError(f"unknown initialization {how!r}: choose {' or '.join(INITIALIZATIONS)} (--init)")
    for convolution in _convolutions(net):
        INITIALIZATIONS[how](convolution)


def _convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    if isinstance(module, nn.Conv2d):
        yield module
    elif not isinstance(module, TimmBackbone):
        for child in module.children():
            yield from _convolutions(child)
