"""The networks: one table from name to a backbone and a head, and `build`.

Imports no other room: `torch.hub` can load it alone.
"""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from network.backbones.dfnet import DFNetV1, DFNetV2
from network.backbones.resnet import resnet18, resnet50, resnet101
from network.backbones.stdc import stdc1, stdc2
from network.backbones.timm import TimmBackbone
from network.backbones.wide_resnet import WideResNet38
from network.checkpoints import weights
from network.fuse import deployed
from network.heads.decouple import DecoupleHead
from network.heads.deeplab import DeepLabV3PlusHead
from network.heads.dfsegnet import DFSegHead
from network.heads.pspnet import PSPHead
from network.heads.sfnet import FPNHead, SFNetHead
from network.heads.sfnet_lite import SFNetLiteHead
from network.initialization import INITIALIZATIONS, initialize
from network.model import Backbone, SceneParser
from network.options import OPTIONS, add_option_flags, chosen_options

__all__ = [
    "INITIALIZATIONS",
    "add_option_flags",
    "build",
    "chosen_options",
    "deployed",
    "has_body_edge_outputs",
    "initialize",
    "names",
    "resolve_name",
    "weights",
]


@dataclass(frozen=True)
class Architecture:
    """A row of the table: `backbone(**options)`, and `head(in_channels, num_classes, deep_supervision, **options)`."""

    backbone: Callable[..., Backbone]
    head: Callable[..., nn.Module]

    def options(self) -> dict[str, Callable[..., nn.Module]]:
        """Returns, for each of `OPTIONS` that it takes, the part that takes it."""
        return {option: part for option in OPTIONS for part in (self.backbone, self.head)
                if option in inspect.signature(part).parameters}


# The width of a pyramid is the published one.
ARCHITECTURES: dict[str, Architecture] = {
    "sfnet_resnet18": Architecture(resnet18, partial(SFNetHead, channels=128)),
    "sfnet_resnet50": Architecture(resnet50, partial(SFNetHead, channels=256)),
    "sfnet_resnet101": Architecture(resnet101, partial(SFNetHead, channels=256)),
    "sfnet_dfnetv1": Architecture(DFNetV1, partial(SFNetHead, channels=64)),
    "sfnet_dfnetv2": Architecture(DFNetV2, partial(SFNetHead, channels=64)),
    "sfnet_stdc1": Architecture(stdc1, partial(SFNetHead, channels=64)),
    "sfnet_stdc2": Architecture(stdc2, partial(SFNetHead, channels=64)),
    "sfnet_lite_resnet18": Architecture(resnet18, partial(SFNetLiteHead, channels=128)),
    # no paper has it: SFNet-Lite's decoder on the three maps of DFNet, to compare with the other two
    "sfnet_lite_dfnetv1": Architecture(DFNetV1, partial(SFNetLiteHead, channels=64)),
    "sfnet_lite_stdc1": Architecture(stdc1, partial(SFNetLiteHead, channels=128)),
    "sfnet_lite_stdc2": Architecture(stdc2, partial(SFNetLiteHead, channels=128)),
    "fpn_resnet18": Architecture(resnet18, partial(FPNHead, channels=128)),
    "fpn_resnet50": Architecture(resnet50, partial(FPNHead, channels=256)),
    "fpn_dfnetv1": Architecture(DFNetV1, partial(FPNHead, channels=64)),
    "pspnet_resnet18": Architecture(partial(resnet18, output_stride=8), PSPHead),
    "pspnet_resnet50": Architecture(partial(resnet50, output_stride=8), PSPHead),
    "deeplabv3plus_resnet18": Architecture(partial(resnet18, output_stride=8), DeepLabV3PlusHead),
    "deeplabv3plus_resnet50": Architecture(partial(resnet50, output_stride=8), DeepLabV3PlusHead),
    "deeplabv3plus_wideresnet38": Architecture(WideResNet38, DeepLabV3PlusHead),
    "decouple_resnet50": Architecture(partial(resnet50, output_stride=8), DecoupleHead),
    "dfsegnet_dfnetv1": Architecture(DFNetV1, partial(DFSegHead, channels=64)),
    "dfsegnet_dfnetv2": Architecture(DFNetV2, partial(DFSegHead, channels=64)),
}

# family -> its head on any backbone of timm, named after a colon: `sfnet_timm:resnet18d`
TIMM_HEADS: dict[str, Callable[..., nn.Module]] = {
    "sfnet_timm": partial(SFNetHead, channels=128),
    "sfnet_lite_timm": partial(SFNetLiteHead, channels=128),
}

# constructor of the reference implementation, under whatever module it stood -> our name
ALIASES = {
    "DeepR18_SF_deeply": "sfnet_resnet18",
    "DeepR18_SF_deeply_dsn": "sfnet_resnet18",
    "DeepR50_SF_deeply": "sfnet_resnet50",
    "DeepR101_SF_deeply": "sfnet_resnet101",
}


def names() -> list[str]:
    """Returns the name of every architecture, but for those on timm's backbones."""
    return list(ARCHITECTURES)


def resolve_name(name: str) -> str:
    """Returns our name of an architecture, which may be a dotted one of the reference (`network.x.DeepR18_SF_deeply`).

    Raises:
        ValueError: nothing has that name; the nearest ones are named.
    """
    short = ALIASES.get(name.rsplit(".", 1)[-1], name)
    family, _, backbone = short.partition(":")
    if short in ARCHITECTURES or (family in TIMM_HEADS and backbone):
        return short
    if family in TIMM_HEADS:
        raise ValueError(f"{name} needs the name of a timm model: {family}:resnet18d, for example")
    valid = [*ARCHITECTURES, *(f"{each}:NAME" for each in TIMM_HEADS)]
    near = difflib.get_close_matches(family, [*valid, *ALIASES], n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(f"unknown architecture {name!r}{meant} All names: {', '.join(valid)}")


def has_body_edge_outputs(name: str) -> bool:
    """Whether a network of this name trains on `body` and `edge` besides `main`."""
    return _row(resolve_name(name)).head is DecoupleHead


def build(name: str, num_classes: int, deep_supervision: bool = False, **options: Any) -> SceneParser:
    """Returns the network with random weights; reads no file.

    Args:
        name: one of `names()`, or `sfnet_timm:MODEL`, `sfnet_lite_timm:MODEL` for a backbone of timm.
        num_classes: K, at least 2.
        deep_supervision: adds the auxiliary classifiers, which are used in training mode only.
        options: some of `OPTIONS`, as far as the architecture has them: `fam_levels` (which levels are reached by flow
            alignment, 0 the finest), `final_fams` (flow alignment in the last fusion too), `context` ("ppm" or "sum"),
            `output_stride` (of a ResNet: 8, 16 or 32).

    Raises:
        ValueError: the name is unknown (the nearest ones are named), there are fewer than 2 classes, an option has no
            meaning here, or the backbone is timm's and cannot serve, or timm is not installed.
    """
    name = resolve_name(name)
    if num_classes < 2:
        raise ValueError(f"{name}: num_classes is {num_classes}, but a classifier needs at least 2")
    row = _row(name)
    taken = row.options()
    for option in options:
        if option not in taken:
            raise ValueError(f"{name} has no option {option}: it has {', '.join(taken) or 'none'}")
    try:
        backbone = row.backbone(**{each: value for each, value in options.items() if taken[each] is row.backbone})
        head = row.head(in_channels=backbone.out_channels, num_classes=num_classes, deep_supervision=deep_supervision,
                        **{each: value for each, value in options.items() if taken[each] is row.head})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return SceneParser(backbone, head)


def _row(name: str) -> Architecture:
    family, _, backbone = name.partition(":")
    if backbone:
        return Architecture(partial(TimmBackbone, backbone), TIMM_HEADS[family])
    return ARCHITECTURES[name]
