"""How published files differ from the networks here: what they call things, and what they hold besides.

A network's own keys are those of the published checkpoints, but for the rules of this module.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from network.backbones.resnet import DeepStemResNet
from network.backbones.stdc import STDC, ConvX
from network.backbones.wide_resnet import WideResNet38
from network.heads.decouple import DecoupleHead
from network.heads.deeplab import DeepLabV3PlusHead
from network.heads.sfnet_lite import SFNetLiteHead
from network.layers import auxiliary_classifier, conv_bn_relu

# The one rename: these parts' layers stand at the top of a published file, without `backbone.` or `head.`
UNPREFIXED = (DeepStemResNet, WideResNet38, DeepLabV3PlusHead, DecoupleHead)

AUXILIARY = re.compile(r"(head\.)?dsn\.")
CLASSIFIER = re.compile(
    r"(head\.conv_last\.1|(head\.)?dsn\.(\d+\.)?4|final\.6|final_seg\.6|dsn_seg_body\.3)\.(weight|bias)$")

# A published STDC holds every layer a second time, by its stride; where the two differ, that one computes.
STDC_COPY = re.compile(r"backbone\.x\d+\.0\.(\d+\..*)")

# part -> keys of its published files that nothing computes with
UNUSED = (
    (STDC, re.compile(r"backbone\.(conv_last|fc|bn|linear)\.")),               # the ImageNet classifier
    (SFNetLiteHead, re.compile(r"head\.fpn_in\.2\.")),                         # a third lateral convolution
)

# A deep-stem ResNet's ImageNet file -> ours
IMAGENET_RENAMES = (("conv1.", "layer0.0."), ("bn1.", "layer0.1."))
IMAGENET_CLASSIFIER = re.compile(r"fc\.(weight|bias)$")

# Tell-tale keys, the first that fits wins: a key that starts so is there.
BACKBONES = (
    ("a ResNet without the deep stem", "conv1.weight"),
    ("resnet101", "layer3.22."), ("resnet50", "layer3.0.conv3."), ("resnet18", "layer3.0.conv1."),
    ("dfnetv2", "stage4_2."), ("dfnetv1", "stage5."), ("stdc2", "features.13."), ("stdc1", "features.7.conv_list."),
    ("wideresnet38", "mod7."),
)
HEADS = (
    ("sfnet_lite", "flow_align_module."), ("sfnet", "fpn_out_align."), ("sfnet", "fuse_align."), ("fpn", "fpn_out."),
    ("dfsegnet", "controllers."), ("pspnet", "ppm."), ("decouple", "squeeze_body_edge."),
    ("deeplabv3plus", "bot_aspp."),
)
TIMM = "model."                                             # of a backbone of timm


def published_key(net: nn.Module, key: str) -> str:
    """Returns the published form of a key, which may be `net`'s own or published already."""
    part, _, rest = key.partition(".")
    return rest if part in ("backbone", "head") and isinstance(net.get_submodule(part), UNPREFIXED) else key


def drop_unused(net: nn.Module, found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Takes out of a published file what `net` has no place for.

    Returns:
        The tensors that are left, and the keys that were taken out: second copies, and unused parts.
    """
    parts = [*net.children()]
    unused = [pattern for part, pattern in UNUSED if any(isinstance(each, part) for each in parts)]
    dropped = [key for key in found if any(pattern.match(key) for pattern in unused)]
    kept = {key: value for key, value in found.items() if key not in dropped}
    if any(isinstance(each, STDC) for each in parts):
        for key in [*kept]:
            copy = STDC_COPY.match(key)
            if copy:
                own = f"backbone.features.{copy[1]}"
                if own in kept:
                    dropped.append(own)
                kept[own] = kept.pop(key)
    return kept, dropped


def imagenet_key(backbone: nn.Module, key: str) -> str:
    """Returns the backbone's own key for a key of its ImageNet file."""
    if isinstance(backbone, DeepStemResNet):
        for theirs, ours in IMAGENET_RENAMES:
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
    return key


def guess_architecture(keys: Collection[str]) -> str | None:
    """Returns the name of the architecture that a state dict belongs to, by its published keys alone.

    An ImageNet file gives its backbone's name, such as `resnet18`; a network on a backbone of timm gives its family
    only (`sfnet_timm`); None where nothing is recognized.
    """
    bare = {key.removeprefix("backbone.").removeprefix("head.") for key in keys}
    backbone = next((name for name, start in BACKBONES if any(key.startswith(start) for key in bare)), None)
    head = next((name for name, start in HEADS if any(key.startswith(start) for key in bare)), None)
    if head and any(key.startswith(TIMM) for key in bare):
        return f"{head}_timm"
    return f"{head}_{backbone}" if head and backbone else backbone


def class_count(state: Mapping[str, Tensor]) -> int | None:
    """Returns the number of classes that a state dict in published keys tells apart; None without a classifier."""
    sizes = (len(value) for key, value in state.items() if CLASSIFIER.match(key) and not AUXILIARY.match(key))
    return next(sizes, None)


def published_parameters(net: nn.Module) -> int:
    """Returns the number of parameters in a published file of this architecture, unused ones included, copies not."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(shape.numel() for key, shape in published_shapes(net).items()
               if not key.endswith(statistics) and not STDC_COPY.match(key))


def published_shapes(net: nn.Module) -> dict[str, torch.Size]:
    """Returns key -> shape of everything that a published file of this architecture holds, unused parts included."""
    shapes = {published_key(net, key): value.shape for key, value in net.state_dict().items()}
    backbone, head = net.get_submodule("backbone"), net.get_submodule("head")
    if isinstance(backbone, STDC):
        width, features = backbone.out_channels[-1], [key for key in shapes if key.startswith("backbone.features.")]
        classifier = {"conv_last": ConvX(width, width, 1), "fc": nn.Linear(width, width, bias=False),
                      "bn": nn.BatchNorm1d(width), "linear": nn.Linear(width, 1000, bias=False)}
        shapes |= {f"backbone.{key}": value.shape for key, value in nn.ModuleDict(classifier).state_dict().items()}
        for key in features:
            position = int(key.split(".")[2])
            stride = 2 ** (1 + position) if position < 2 else 2 ** (2 + sum(position >= end for end in backbone.ends))
            shapes[f"backbone.x{stride}.0.{key.removeprefix('backbone.features.')}"] = shapes[key]
    if isinstance(head, SFNetLiteHead) and isinstance(backbone, DeepStemResNet | STDC):
        num_classes, channels = shapes["head.conv_last.1.weight"][:2]
        unused = {"dsn": auxiliary_classifier(channels, channels, num_classes)}
        if isinstance(backbone, DeepStemResNet):
            unused["fpn_in.2"] = conv_bn_relu(backbone.out_channels[3], channels, 1, bias=True)
        shapes |= {f"head.{name}.{key}": value.shape for name, part in unused.items()
                   for key, value in part.state_dict().items()}
    return shapes
