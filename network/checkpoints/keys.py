"""The differences between the keys of published files and those of the networks here.

The keys of a network are those of the published checkpoints, except for the rules of this module.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from network.backbones.resnet import DeepStemResNet
from network.backbones.stdc import STDC, ConvX
from network.backbones.wide_resnet import WideResNet38
from network.heads.decouple import DecoupleHead
from network.heads.deeplab import DeepLabV3PlusHead
from network.heads.sfnet_lite import SFNetLiteHead
from network.layers import auxiliary_classifier, conv_bn_relu
from network.model import Head, SceneParser
from network.registry import HEADS

# How the keys of the outputs start that only a training needs.
TRAINING_HEADS = "training_heads."

# The one rename: published files hold the layers of these parts without `backbone.` or `head.`.
UNPREFIXED = (DeepStemResNet, WideResNet38, DeepLabV3PlusHead, DecoupleHead)

# A published STDC holds every layer a second time, under a key with its stride. Where the copies
# differ, the published network computes with this second copy.
STDC_COPY = re.compile(r"backbone\.x\d+\.0\.(\d+\..*)")

# Part -> keys of its published files that no computation uses.
UNUSED = (
    # The ImageNet classifier.
    (STDC, re.compile(r"backbone\.(conv_last|fc|bn|linear)\.")),
    # A third lateral convolution.
    (SFNetLiteHead, re.compile(r"head\.fpn_in\.2\.")),
)

# Keys of a deep-stem ResNet's ImageNet file -> our keys.
IMAGENET_RENAMES = (("conv1.", "layer0.0."), ("bn1.", "layer0.1."))
IMAGENET_CLASSIFIER = re.compile(r"fc\.(weight|bias)$")

# Pairs of (name, start of a key that only this backbone or head has). The first match counts.
BACKBONE_MARKS = (
    ("a ResNet without the deep stem", "conv1.weight"),
    ("resnet101", "layer3.22."),
    ("resnet50", "layer3.0.conv3."),
    ("resnet18", "layer3.0.conv1."),
    ("dfnetv2", "stage4_2."),
    ("dfnetv1", "stage5."),
    ("stdc2", "features.13."),
    ("stdc1", "features.7.conv_list."),
    ("wideresnet38", "mod7."),
)
HEAD_MARKS = (
    ("sfnet_lite", "flow_align_module."),
    ("sfnet", "fpn_out_align."),
    ("sfnet", "fuse_align."),
    ("fpn", "fpn_out."),
    ("dfsegnet", "controllers."),
    ("pspnet", "ppm."),
    ("decouple", "squeeze_body_edge."),
    ("deeplabv3plus", "bot_aspp."),
)
# How the keys of a timm backbone start.
TIMM_MARK = "model."


def published_key(net: SceneParser, key: str) -> str:
    """Returns the published form of a key, which is a key of `net` or already published."""
    part, _, rest = key.partition(".")
    if part in ("backbone", "head") and isinstance(net.get_submodule(part), UNPREFIXED):
        return rest
    return key


def is_auxiliary(net: SceneParser, key: str) -> bool:
    """Returns whether a published key belongs to an auxiliary part of the head of `net`.

    `net` itself may have been built without that part.
    """
    prefix = _head_prefix(type(net.head))
    return key.startswith(tuple(f"{prefix}{name}." for name in net.head.auxiliary))


def is_training_head(net: SceneParser, key: str) -> bool:
    """Returns whether a published key belongs to `SceneParser.training_heads`."""
    return key.startswith(TRAINING_HEADS)


def classifier_keys(net: SceneParser) -> set[str]:
    """Returns the published keys of the layers with one output channel per class."""
    prefix = _head_prefix(type(net.head))
    return {f"{prefix}{name}.{parameter}" for name in net.head.classifier_names()
            for parameter in ("weight", "bias")}


def class_count(state: Mapping[str, Tensor]) -> int | None:
    """Returns the number of classes of a state dict in published keys; None without a classifier.

    It is the number of channels of the last convolution of the main classifier.
    """
    for entry in HEADS.values():
        start = f"{_head_prefix(entry.build)}{entry.build.classifiers[0]}."
        convolutions = [key for key, value in state.items()
                        if key.startswith(start) and key.endswith("weight") and value.ndim == 4]
        if convolutions:
            return len(state[max(convolutions, key=_layer_indices)])
    return None


def _layer_indices(key: str) -> list[int]:
    """Returns the numbers in a key: `conv_last.0.0.weight` -> [0, 0], `conv_last.1.weight` -> [1].
    """
    return [int(index) for index in re.findall(r"\d+", key)]


def drop_unused(net: SceneParser,
                state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Removes the tensors of a published state dict that `net` does not compute with.

    Returns:
        The remaining tensors, and the removed keys: second copies and unused parts.
    """
    return drop_unused_of((net.backbone, net.head), state)


def drop_unused_of(parts: Sequence[nn.Module],
                   state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """As `drop_unused`, for some parts of a network."""
    unused = [pattern for part, pattern in UNUSED
              if any(isinstance(module, part) for module in parts)]
    dropped = [key for key in state if any(pattern.match(key) for pattern in unused)]
    kept = {key: value for key, value in state.items() if key not in dropped}
    if any(isinstance(module, STDC) for module in parts):
        dropped += _merge_stdc_copies(kept)
    return kept, dropped


def imagenet_key(backbone: nn.Module, key: str) -> str:
    """Returns the backbone's own key for a key of its ImageNet file."""
    if isinstance(backbone, DeepStemResNet):
        for published, ours in IMAGENET_RENAMES:
            if key.startswith(published):
                return ours + key.removeprefix(published)
    return key


def imagenet_file_key(backbone: nn.Module, key: str) -> str:
    """Returns the key in a backbone's ImageNet file for the backbone's own key."""
    if isinstance(backbone, DeepStemResNet):
        for published, ours in IMAGENET_RENAMES:
            if key.startswith(ours):
                return published + key.removeprefix(ours)
    return key


def guess_architecture(keys: Collection[str]) -> str | None:
    """Returns the name of the architecture that published keys belong to, None if unknown.

    An ImageNet file gives the name of its backbone, such as `resnet18`. A network on a timm
    backbone gives its family only, `sfnet_timm`.
    """
    bare = _bare_keys(keys)
    backbone, head = _first_match(bare, BACKBONE_MARKS), _first_match(bare, HEAD_MARKS)
    if head and any(key.startswith(TIMM_MARK) for key in bare):
        return f"{head}_timm"
    return f"{head}_{backbone}" if head and backbone else backbone


def has_head(keys: Collection[str]) -> bool:
    """Returns whether published keys belong to a whole network, not to a backbone alone."""
    return _first_match(_bare_keys(keys), HEAD_MARKS) is not None


def published_parameters(net: SceneParser) -> int:
    """Returns the number of parameters in a published file of this architecture.

    Unused parts are counted, second copies are not.
    """
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(shape.numel() for key, shape in published_shapes(net).items()
               if not key.endswith(statistics) and not STDC_COPY.match(key))


def published_shapes(net: SceneParser) -> dict[str, torch.Size]:
    """Returns key -> shape of every tensor in a published file of this architecture.

    This includes unused parts and second copies.
    """
    shapes = {published_key(net, key): value.shape for key, value in net.state_dict().items()}
    if isinstance(net.backbone, STDC):
        shapes |= _unused_stdc_shapes(net.backbone, shapes)
    if isinstance(net.head, SFNetLiteHead) and isinstance(net.backbone, DeepStemResNet | STDC):
        shapes |= _unused_lite_shapes(net.backbone, shapes)
    return shapes


def _bare_keys(keys: Collection[str]) -> set[str]:
    return {key.removeprefix("backbone.").removeprefix("head.") for key in keys}


def _first_match(bare: Collection[str], marks: tuple[tuple[str, str], ...]) -> str | None:
    """Returns the first name of `marks` that a key belongs to; None if there is no such key."""
    matches = (name for name, start in marks if any(key.startswith(start) for key in bare))
    return next(matches, None)


def _head_prefix(head: type[Head]) -> str:
    return "" if issubclass(head, UNPREFIXED) else "head."


def _merge_stdc_copies(state: dict[str, Tensor]) -> list[str]:
    """Moves the copies by stride to the keys of the first copies; returns the replaced keys."""
    replaced = []
    for key in [*state]:
        copy = STDC_COPY.match(key)
        if copy:
            first = f"backbone.features.{copy[1]}"
            if first in state:
                replaced.append(first)
            state[first] = state.pop(key)
    return replaced


def _unused_stdc_shapes(backbone: STDC,
                        shapes: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
    """Returns the shapes of the ImageNet classifier and of the second copies."""
    width = backbone.out_channels[-1]
    classifier = nn.ModuleDict({
        "conv_last": ConvX(width, width, 1),
        "fc": nn.Linear(width, width, bias=False),
        "bn": nn.BatchNorm1d(width),
        "linear": nn.Linear(width, 1000, bias=False),
    })
    unused = {f"backbone.{key}": value.shape for key, value in classifier.state_dict().items()}
    for key, shape in shapes.items():
        if key.startswith("backbone.features."):
            layer = int(key.split(".")[2])
            unused[f"backbone.x{_stdc_stride(backbone, layer)}.0."
                   f"{key.removeprefix('backbone.features.')}"] = shape
    return unused


def _stdc_stride(backbone: STDC, layer: int) -> int:
    """Returns the stride of the output of a layer of `features`."""
    # Both layers of the stem and the first layer of each later stage halve the size.
    if layer < backbone.ends[0]:
        return 2 ** (layer + 1)
    stages_before = sum(layer >= end for end in backbone.ends)
    return 4 * 2 ** stages_before


def _unused_lite_shapes(backbone: nn.Module,
                        shapes: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
    """Returns the shapes of the auxiliary head and of a ResNet's third lateral convolution."""
    num_classes, channels = shapes["head.conv_last.1.weight"][:2]
    unused: dict[str, nn.Module] = {"dsn": auxiliary_classifier(channels, channels, num_classes)}
    if isinstance(backbone, DeepStemResNet):
        unused["fpn_in.2"] = conv_bn_relu(backbone.out_channels[3], channels, 1, bias=True)
    return {f"head.{name}.{key}": value.shape for name, part in unused.items()
            for key, value in part.state_dict().items()}
