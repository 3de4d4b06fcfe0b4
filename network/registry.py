"""The table of architectures, and `build`, which constructs a network by its name."""
from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from network.backbones.dfnet import DFNetV1, DFNetV2
from network.backbones.resnet import resnet18, resnet50, resnet101
from network.backbones.stdc import stdc1, stdc2
from network.backbones.timm import timm_backbone
from network.backbones.wide_resnet import WideResNet38
from network.depthwise import train_depthwise_in_float32
from network.heads.decouple import DecoupleHead
from network.heads.deeplab import DeepLabV3PlusHead
from network.heads.dfsegnet import DFSegHead
from network.heads.pspnet import PSPHead
from network.heads.sfnet import FPNHead, SFNetHead
from network.heads.sfnet_lite import SFNetLiteHead
from network.model import Backbone, Head, SceneParser


@dataclass(frozen=True)
class BackboneEntry:
    """A row of `BACKBONES`.

    Attributes:
        build: `build(**options)` returns the backbone with random weights.
        options: the names of the options of `network.build` that the backbone takes.
    """

    build: Callable[..., Backbone]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadEntry:
    """A row of `HEADS`.

    Attributes:
        build: `build(in_channels=..., num_classes=..., deep_supervision=..., **options)` returns
            the head; a head with a `channels` argument gets it from the architecture's row.
        options: the names of the options of `network.build` that the head takes.
    """

    build: type[Head]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A row of `ARCHITECTURES` or `TIMM_ARCHITECTURES`.

    Attributes:
        backbone: a name of `BACKBONES`; "timm" in `TIMM_ARCHITECTURES`, where the architecture's
            name holds the name of the timm model after a colon.
        head: a name of `HEADS`.
        channels: the width of the decoder; None for a head whose width is fixed.
        backbone_defaults: options of the backbone whose defaults this architecture changes.
    """

    backbone: str
    head: str
    channels: int | None = None
    backbone_defaults: Mapping[str, Any] = field(default_factory=dict)


BACKBONES: dict[str, BackboneEntry] = {
    "resnet18": BackboneEntry(resnet18, options=("output_stride",)),
    "resnet50": BackboneEntry(resnet50, options=("output_stride",)),
    "resnet101": BackboneEntry(resnet101, options=("output_stride",)),
    "dfnetv1": BackboneEntry(DFNetV1),
    "dfnetv2": BackboneEntry(DFNetV2),
    "stdc1": BackboneEntry(stdc1),
    "stdc2": BackboneEntry(stdc2),
    "wideresnet38": BackboneEntry(WideResNet38),
}

HEADS: dict[str, HeadEntry] = {
    "sfnet": HeadEntry(SFNetHead, options=("fam_levels", "final_fams", "context")),
    "sfnet_lite": HeadEntry(SFNetLiteHead, options=("context",)),
    "fpn": HeadEntry(FPNHead, options=("context",)),
    "pspnet": HeadEntry(PSPHead),
    "deeplabv3plus": HeadEntry(DeepLabV3PlusHead),
    "decouple": HeadEntry(DecoupleHead),
    "dfsegnet": HeadEntry(DFSegHead),
}

_STRIDE_8 = {"output_stride": 8}
# Some of timm's models are not offered at stride 8.
_PREFER_STRIDE_8 = {"preferred_stride": 8}

# `channels` are the widths of the published networks.
ARCHITECTURES: dict[str, Architecture] = {
    "sfnet_resnet18": Architecture("resnet18", "sfnet", channels=128),
    "sfnet_resnet50": Architecture("resnet50", "sfnet", channels=256),
    "sfnet_resnet101": Architecture("resnet101", "sfnet", channels=256),
    "sfnet_dfnetv1": Architecture("dfnetv1", "sfnet", channels=64),
    "sfnet_dfnetv2": Architecture("dfnetv2", "sfnet", channels=64),
    "sfnet_stdc1": Architecture("stdc1", "sfnet", channels=64),
    "sfnet_stdc2": Architecture("stdc2", "sfnet", channels=64),
    "sfnet_lite_resnet18": Architecture("resnet18", "sfnet_lite", channels=128),
    # Not from a paper: SFNet-Lite's decoder on DFNet, to compare it with SFNet's and DFSegNet's.
    "sfnet_lite_dfnetv1": Architecture("dfnetv1", "sfnet_lite", channels=64),
    "sfnet_lite_stdc1": Architecture("stdc1", "sfnet_lite", channels=128),
    "sfnet_lite_stdc2": Architecture("stdc2", "sfnet_lite", channels=128),
    "fpn_resnet18": Architecture("resnet18", "fpn", channels=128),
    "fpn_resnet50": Architecture("resnet50", "fpn", channels=256),
    "fpn_dfnetv1": Architecture("dfnetv1", "fpn", channels=64),
    "pspnet_resnet18": Architecture("resnet18", "pspnet", backbone_defaults=_STRIDE_8),
    "pspnet_resnet50": Architecture("resnet50", "pspnet", backbone_defaults=_STRIDE_8),
    "deeplabv3plus_resnet18": Architecture(
        "resnet18", "deeplabv3plus", backbone_defaults=_STRIDE_8),
    "deeplabv3plus_resnet50": Architecture(
        "resnet50", "deeplabv3plus", backbone_defaults=_STRIDE_8),
    "deeplabv3plus_wideresnet38": Architecture("wideresnet38", "deeplabv3plus"),
    "decouple_resnet50": Architecture("resnet50", "decouple", backbone_defaults=_STRIDE_8),
    "dfsegnet_dfnetv1": Architecture("dfnetv1", "dfsegnet", channels=64),
    "dfsegnet_dfnetv2": Architecture("dfnetv2", "dfsegnet", channels=64),
}

# Heads on any timm backbone, whose name follows a colon: `sfnet_timm:resnet18d`.
TIMM_ARCHITECTURES: dict[str, Architecture] = {
    "sfnet_timm": Architecture("timm", "sfnet", channels=128),
    "sfnet_lite_timm": Architecture("timm", "sfnet_lite", channels=128),
    "fpn_timm": Architecture("timm", "fpn", channels=128),
    "pspnet_timm": Architecture("timm", "pspnet", backbone_defaults=_PREFER_STRIDE_8),
    "deeplabv3plus_timm": Architecture(
        "timm", "deeplabv3plus", backbone_defaults=_PREFER_STRIDE_8),
}

# A constructor of the reference implementation, without its module -> name in `ARCHITECTURES`.
ALIASES = {
    "DeepR18_SF_deeply": "sfnet_resnet18",
    "DeepR18_SF_deeply_dsn": "sfnet_resnet18",
    "DeepR50_SF_deeply": "sfnet_resnet50",
    "DeepR101_SF_deeply": "sfnet_resnet101",
}


def names() -> list[str]:
    """Returns the names of all architectures except those on timm backbones."""
    return list(ARCHITECTURES)


def timm_names(placeholder: str = "MODEL") -> list[str]:
    """Returns the names of the architectures on timm backbones, as `sfnet_timm:MODEL`."""
    return [f"{family}:{placeholder}" for family in TIMM_ARCHITECTURES]


def resolve_name(name: str) -> str:
    """Returns the name of an architecture as in `ARCHITECTURES`, or `sfnet_timm:MODEL`.

    Args:
        name: this name, or a constructor of the reference implementation with its module
            (`network.x.DeepR18_SF_deeply`).

    Raises:
        ValueError: the name is unknown; the message lists the nearest names.
    """
    short = ALIASES.get(name.rsplit(".", 1)[-1], name)
    family, _, model = short.partition(":")
    if short in ARCHITECTURES or (family in TIMM_ARCHITECTURES and model):
        return short
    if family in TIMM_ARCHITECTURES:
        raise ValueError(f"{name} needs the name of a timm model: {family}:resnet18d, for example")
    valid = [*ARCHITECTURES, *timm_names("NAME")]
    nearest = difflib.get_close_matches(family, [*valid, *ALIASES], n=3, cutoff=0.5)
    suggestion = f"; did you mean {' or '.join(nearest)}?" if nearest else "."
    raise ValueError(f"unknown architecture {name!r}{suggestion} All names: {', '.join(valid)}")


def has_body_edge_outputs(name: str) -> bool:
    """Returns whether the network also returns `body` and `edge` in training mode."""
    row = _architecture(resolve_name(name))
    return HEADS[row.head].build.has_body_edge_outputs


def build(name: str, num_classes: int, deep_supervision: bool = False,
          **options: Any) -> SceneParser:
    """Returns a network with random weights; reads no file.

    Args:
        name: one of `names()`, or a head of `TIMM_ARCHITECTURES` with a timm backbone, such as
            `sfnet_timm:MODEL`.
        num_classes: K, at least 2.
        deep_supervision: adds the auxiliary classifiers, which run in training mode only.
        options: those that the architecture takes: `fam_levels` (pyramid levels with flow
            alignment, 0 is the finest), `final_fams` (flow alignment in the last fusion too),
            `context` ("ppm" or "sum"), `output_stride` (of a ResNet, and of timm's models
            that offer it: 8, 16 or 32).

    Raises:
        ValueError: the name is unknown (the message lists the nearest names), `num_classes` is
            below 2, the architecture does not take an option, timm is not installed, or the timm
            model cannot be used as a backbone.
    """
    name = resolve_name(name)
    if num_classes < 2:
        raise ValueError(f"{name}: num_classes is {num_classes}, but a classifier needs at least 2")
    row = _architecture(name)
    backbone_entry, head_entry = _backbone_entry(name, row), HEADS[row.head]
    accepted = (*head_entry.options, *backbone_entry.options)
    for option in options:
        if option not in accepted:
            listed = ", ".join(accepted) or "none"
            raise ValueError(f"{name} has no option {option}: it has {listed}")
    backbone_options = {**row.backbone_defaults, **_pick(options, backbone_entry.options)}
    head_options = _pick(options, head_entry.options)
    if row.channels is not None:
        head_options["channels"] = row.channels
    try:
        backbone = backbone_entry.build(**backbone_options)
        head = head_entry.build(in_channels=backbone.out_channels, num_classes=num_classes,
                                deep_supervision=deep_supervision, **head_options)
        net = SceneParser(backbone, head)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    train_depthwise_in_float32(net)
    return net


def _architecture(name: str) -> Architecture:
    family, _, model = name.partition(":")
    return TIMM_ARCHITECTURES[family] if model else ARCHITECTURES[name]


def _backbone_entry(name: str, row: Architecture) -> BackboneEntry:
    _, _, model = name.partition(":")
    if not model:
        return BACKBONES[row.backbone]
    return BackboneEntry(partial(timm_backbone, model), options=("output_stride",))


def _pick(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}
