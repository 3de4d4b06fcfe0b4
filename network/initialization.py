"""Random initialization of the convolutions."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from network.backbones.timm import TimmBackbone


def he(convolution: nn.Conv2d) -> None:
    """Draws from a normal distribution of variance 2 / fan-in, as ResNet does; the bias becomes 0.

    Source: He et al., ICCV 2015, arXiv 1502.01852, equation 10.
    """
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def uniform(convolution: nn.Conv2d) -> None:
    """Keeps torch's initial weights, uniform with variance 1 / (3 fan-in)."""


INITIALIZATIONS: dict[str, Callable[[nn.Conv2d], None]] = {"uniform": uniform, "he": he}


def initialize(net: nn.Module, init: str) -> None:
    """Draws the weights of every convolution outside of timm backbones.

    Batch norms keep scale 1 and shift 0. Backbones of timm are initialized by timm.

    Args:
        init: a name of `INITIALIZATIONS`.

    Raises:
        ValueError: the name is unknown.
    """
    if init not in INITIALIZATIONS:
        raise ValueError(f"unknown initialization {init!r}: choose {' or '.join(INITIALIZATIONS)}")
    for convolution in _convolutions(net):
        INITIALIZATIONS[init](convolution)


def _convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    """Yields the convolutions of a module, without those of timm backbones."""
    if isinstance(module, nn.Conv2d):
        yield module
    elif not isinstance(module, TimmBackbone):
        for child in module.children():
            yield from _convolutions(child)
