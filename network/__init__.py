"""The networks: one table from name to builder, and `build`. Imports no other room: `torch.hub` can load it alone."""
from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from network import weights
from network.dfnet import DFNetV1
from network.layers import Backbone
from network.resnet import resnet18
from network.sfnet import SFNet, SFNetHead

__all__ = ["build", "names", "weights"]


def _sfnet(backbone: Callable[[], Backbone], channels: int, num_classes: int, deep_supervision: bool) -> SFNet:
    body = backbone()
    return SFNet(body, SFNetHead(body.out_channels, channels, num_classes, deep_supervision=deep_supervision))


# name -> builder(num_classes, deep_supervision); the width of the pyramid is the published one
ARCHITECTURES: dict[str, Callable[..., SFNet]] = {
    "sfnet_resnet18": partial(_sfnet, resnet18, 128),
    "sfnet_dfnetv1": partial(_sfnet, DFNetV1, 64),
}


def names() -> list[str]:
    """Returns the name of every architecture."""
    return list(ARCHITECTURES)


def build(name: str, num_classes: int, deep_supervision: bool = False) -> SFNet:
    """Returns the network with random weights; reads no file.

    Args:
        name: one of `names()`.
        num_classes: K, at least 2.
        deep_supervision: adds the auxiliary classifiers, which are used in training mode only.

    Raises:
        ValueError: the name is not in the table (the nearest ones are named), or there are fewer than 2 classes.
    """
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"unknown architecture {name!r}{meant} All names: {', '.join(ARCHITECTURES)}")
    if num_classes < 2:
        raise ValueError(f"{name}: num_classes is {num_classes}, but a classifier needs at least 2")
    return ARCHITECTURES[name](num_classes=num_classes, deep_supervision=deep_supervision)
