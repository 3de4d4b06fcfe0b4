"""Reading weights: own and published checkpoints and ImageNet files, strictly. A checkpoint is an interface.

A network's own keys are the published checkpoints' keys but for one rule: published files with a ResNet hold the
backbone's layers at the top, here they stand under `backbone.`; `published_key` and `own_key` are the two directions.
"""
from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from network.resnet import DeepStemResNet

AUXILIARY = re.compile(r"head\.dsn\.")
CLASSIFIER = re.compile(r"head\.(conv_last\.1|dsn\.\d+\.4)\.(weight|bias)$")
IMAGENET_CLASSIFIER = re.compile(r"fc\.(weight|bias)$")
PREFIXES = ("module.", "_orig_mod.")                        # left in the keys by DataParallel and torch.compile
NESTINGS = ("state_dict", "model_state_dict", "model", "net")

# backbone, the last part of an architecture's name -> its file under pretrained_models/
IMAGENET_FILES = {
    "resnet18": "resnet18-deep-stem-pytorch.pth",
    "dfnetv1": "dfnetv1.pth",
}
IMAGENET_RENAMES = (("conv1.", "layer0.0."), ("bn1.", "layer0.1."))     # a deep-stem ResNet's ImageNet file -> ours


class WeightsError(ValueError):
    """A file cannot be read as weights, or does not fit the network. The message says which, where and what to do."""


@dataclass(frozen=True)
class Report:
    """What `load` did, by published key: taken from the file, left out of it, and kept random in the network."""

    loaded: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    random: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.dropped:
            parts.append(f"{len(self.dropped)} left out: {_listing(self.dropped)}")
        if self.random:
            parts.append(f"{len(self.random)} kept random: {_listing(self.random)}")
        return "; ".join(parts)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file, zip or legacy format, without running any code from it.

    Returns:
        The dict in the file, on the CPU: a run's checkpoint, a published one, or a bare state dict.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is a web page, truncated, no checkpoint at all, or its pickle names foreign code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: give the path of a .pth file")
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head[:1] == b"<":
        raise WeightsError(f"{path} is a web page, not weights: the download link answered with HTML (a sign-in or "
                           "quota page). Download it again in a browser.")
    is_zip = zipfile.is_zipfile(path)
    if head[:2] == b"PK" and not is_zip:
        raise WeightsError(f"{path} is truncated ({path.stat().st_size:,} bytes): copy or download it again")
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            payload = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"(?:GLOBAL|global:?) `?([\w.]+)`?", str(error))
        if foreign and "." in foreign[1]:
            raise WeightsError(f"{path} was refused: its pickle names {foreign[1]}, which is neither a tensor nor a "
                               "number, and could run code. Save a plain state dict instead: "
                               "torch.save(net.state_dict(), FILE).") from error
        raise WeightsError(f"{path} is no checkpoint, or is damaged: copy or download it again") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({path.stat().st_size:,} bytes): "
                           "copy or download it again") from error
    if not isinstance(payload, dict):
        raise WeightsError(f"{path} holds a {type(payload).__name__}, not a dict of weights")
    return payload


def load(net: nn.Module, path_or_state_dict: str | Path | Mapping[str, Any], reset_classifier: bool = False,
         init_aux: bool = False, ema: bool = False) -> Report:
    """Fills a network, strictly: every key must be there, be known and have the right shape.

    Exceptions, each named in the report: auxiliary heads in a file whose network has none are left out; with
    `reset_classifier` a classifier of another class count, and with `init_aux` auxiliary heads that the file lacks,
    stay random.

    Args:
        net: a network of `network.build`.
        path_or_state_dict: a file, or what `read` returned, or a state dict in published or own keys.
        ema: takes the averaged weights of a run's checkpoint instead of the raw ones.

    Raises:
        FileNotFoundError, WeightsError: as in `read`; or keys are missing, unexpected or of another shape (all listed).
    """
    if isinstance(path_or_state_dict, str | Path):
        source, payload = str(path_or_state_dict), read(path_or_state_dict)
    else:
        source, payload = "the given state dict", dict(path_or_state_dict)
    found = {published_key(net, key): value for key, value in _state_dict(payload, ema, source).items()}
    wanted = {published_key(net, key): value for key, value in net.state_dict().items()}

    dropped = [key for key in found if key not in wanted and AUXILIARY.match(key) and not _has_aux(wanted)]
    missing = [key for key in wanted if key not in found]
    unexpected = [key for key in found if key not in wanted and key not in dropped]
    reshaped = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    classifier = [key for key in reshaped if CLASSIFIER.match(key)]
    random = list(classifier) if reset_classifier else []
    random += [key for key in missing if init_aux and AUXILIARY.match(key)]

    problems = [
        *_problem("missing from the file", set(missing) - set(random), missing),
        *_problem("not in the network", set(unexpected), unexpected),
        *(f"{key}: {tuple(found[key].shape)} in the file, {tuple(wanted[key].shape)} in the network"
          for key in reshaped if key not in random),
    ]
    if problems:
        raise WeightsError(f"{source} does not fit the network{_advice(payload, missing, reshaped, classifier)}\n  "
                           + "\n  ".join(problems))
    taken = [key for key in wanted if key in found and key not in random]
    own = {published_key(net, key): key for key in net.state_dict()}
    net.load_state_dict({own[key]: found[key] for key in taken}, strict=False)
    return Report(tuple(taken), tuple(dropped), tuple(random))


def published_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """Returns the network's state dict under the published keys, the form every checkpoint is saved in."""
    return {published_key(net, key): value for key, value in net.state_dict().items()}


def published_key(net: nn.Module, key: str) -> str:
    """The one renaming rule: a ResNet's layers stand at the top of a published file, without `backbone.`."""
    bare = isinstance(net.get_submodule("backbone"), DeepStemResNet)
    return key.removeprefix("backbone.") if bare else key


def load_imagenet(net: nn.Module, arch: str, pretrained: str,
                  folder: str | Path = "pretrained_models") -> Report | None:
    """Fills the network's backbone from an ImageNet file.

    Args:
        pretrained: "auto" for the architecture's file in `folder`, "none" to keep random weights, or a path.

    Returns:
        What was loaded; None for "none".

    Raises:
        FileNotFoundError: the file is not there; says its name, what it must hold and how to do without.
        WeightsError: as in `read`, or the file does not hold exactly this backbone.
    """
    if pretrained == "none":
        return None
    backbone_name = arch.rsplit("_", 1)[-1]
    path = Path(folder) / IMAGENET_FILES[backbone_name] if pretrained == "auto" else Path(pretrained)
    if not path.is_file():
        raise FileNotFoundError(
            f"no ImageNet weights for {arch} at {path}: the file must hold the state dict of {backbone_name} "
            "(see pretrained_models/README.md). Put it there, name another with --pretrained PATH, or start from "
            "random weights with --pretrained none (expect several points of mIoU less).")
    backbone = net.get_submodule("backbone")
    found = {_imagenet_key(backbone, key): value for key, value in _state_dict(read(path), False, str(path)).items()}
    dropped = [key for key in found if IMAGENET_CLASSIFIER.match(key)]
    wanted = backbone.state_dict()
    problems = [
        *_problem("missing from the file", set(wanted) - set(found), wanted),
        *_problem("not in the backbone", set(found) - set(wanted) - set(dropped), found),
        *(f"{key}: {tuple(found[key].shape)} in the file, {tuple(value.shape)} in the backbone"
          for key, value in wanted.items() if key in found and found[key].shape != value.shape),
    ]
    if problems:
        raise WeightsError(f"{path} does not hold the backbone {backbone_name} of {arch}\n  " + "\n  ".join(problems))
    backbone.load_state_dict({key: found[key] for key in wanted})
    return Report(tuple(wanted), tuple(dropped))


def _imagenet_key(backbone: nn.Module, key: str) -> str:
    if isinstance(backbone, DeepStemResNet):
        for theirs, ours in IMAGENET_RENAMES:
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
    return key


def _state_dict(payload: Mapping[str, Any], ema: bool, source: str) -> dict[str, Tensor]:
    """Takes the tensors out of a payload and the wrappers' prefixes off their keys."""
    if ema:
        if not isinstance(payload.get("ema"), Mapping):
            raise WeightsError(f"{source} holds no averaged weights: it comes from a run without --ema_decay")
        payload = payload["ema"]
    for nesting in NESTINGS:
        if isinstance(payload.get(nesting), Mapping):
            payload = payload[nesting]
            break
    foreign = [key for key, value in payload.items() if not isinstance(value, Tensor)]
    if foreign or not payload:
        what = f"{_listing(foreign)} are not tensors" if foreign else "it is empty"
        raise WeightsError(f"{source} is no state dict: {what}")
    tensors = {}
    for key, value in payload.items():
        for prefix in PREFIXES:
            key = key.removeprefix(prefix)
        tensors[key] = value
    return tensors


def _has_aux(keys: Iterable[str]) -> bool:
    return any(AUXILIARY.match(key) for key in keys)


def _advice(payload: Any, missing: list[str], reshaped: list[str], classifier: list[str]) -> str:
    """What most likely went wrong, and the way out."""
    arch = payload.get("arch")
    if reshaped and reshaped == classifier and not missing:
        return (": it was trained on another number of classes. Choose its dataset, or start the classifier anew with "
                "--reset_classifier (reset_classifier=True).")
    if missing and all(AUXILIARY.match(key) for key in missing) and not reshaped:
        return ": it has no auxiliary heads. Build the network without deep supervision, or pass init_aux=True."
    return f": the file says it holds {arch!r}." if isinstance(arch, str) else ": it holds another architecture."


def _problem(what: str, keys: set[str], order: Iterable[str]) -> list[str]:
    return [f"{len(keys)} {what}: {_listing([key for key in order if key in keys])}"] if keys else []


def _listing(keys: Iterable[str], most: int = 12) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _numpy_scalars() -> list[Any]:
    """What the pickles of published files name besides tensors: numpy's scalars, under its old and new module path."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [each for each in vars(np.dtypes).values() if isinstance(each, type)]
    return [np.dtype, *dtypes, *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core"))]
