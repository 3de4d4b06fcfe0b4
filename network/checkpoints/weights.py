"""Reading weights: own and published checkpoints and ImageNet files, strictly. A checkpoint is an interface.

`network.checkpoints.keys` knows what published files call things and hold besides.
"""
from __future__ import annotations

import json
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

from network.backbones.timm import TimmBackbone
from network.checkpoints.keys import (
    AUXILIARY,
    CLASSIFIER,
    IMAGENET_CLASSIFIER,
    drop_unused,
    guess_architecture,
    imagenet_key,
    published_key,
)

PREFIXES = ("module.", "_orig_mod.")                        # left in the keys by DataParallel and torch.compile
HEADER = "sfsegnets"                                        # where a safetensors file says what it is
NESTINGS = ("state_dict", "model_state_dict", "model", "net")

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained_models"         # of the checkout, wherever one stands

# backbone -> its file under pretrained_models/, where that is not simply `<backbone>.pth`
IMAGENET_FILES = {f"resnet{depth}": f"resnet{depth}-deep-stem-pytorch.pth" for depth in (18, 50, 101)}


class WeightsError(ValueError):
    """A file cannot be read as weights, or does not fit the network. The message says which, where and what to do."""


@dataclass(frozen=True)
class Report:
    """What `load` did, by published key: taken from the file, left out of it, and kept random in the network.

    `averaged` says that what was taken are the averaged weights of a run.
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    random: tuple[str, ...] = field(default=())
    averaged: bool = False

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} {'averaged ' if self.averaged else ''}tensors loaded"]
        if self.dropped:
            parts.append(f"{len(self.dropped)} left out: {_listing(self.dropped)}")
        if self.random:
            parts.append(f"{len(self.random)} kept random: {_listing(self.random)}")
        return "; ".join(parts)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file, zip, legacy or safetensors format, without running any code from it.

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
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
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
         init_aux: bool = False, ema: bool | None = False) -> Report:
    """Fills a network, strictly: every key must be there, be known and have the right shape.

    Exceptions, each named in the report: auxiliary heads in a file whose network has none are left out; with
    `reset_classifier` a classifier of another class count, and with `init_aux` auxiliary heads that the file lacks,
    stay random.

    Args:
        net: a network of `network.build`.
        path_or_state_dict: a file, or what `read` returned, or a state dict in published or own keys.
        ema: takes the averaged weights of a run's checkpoint instead of the raw ones; None does where there are any.

    Raises:
        FileNotFoundError, WeightsError: as in `read`; or keys are missing, unexpected or of another shape (all listed).
    """
    if isinstance(path_or_state_dict, str | Path):
        source, payload = str(path_or_state_dict), read(path_or_state_dict)
    else:
        source, payload = "the given state dict", dict(path_or_state_dict)
    averaged = payload.get("ema") is not None if ema is None else ema
    given = {published_key(net, key): value for key, value in state_dict(payload, averaged, source).items()}
    found, dropped = drop_unused(net, given)
    own = {published_key(net, key): key for key in net.state_dict()}
    wanted = {key: net.state_dict()[own[key]] for key in own}
    dropped += [key for key in found if AUXILIARY.match(key) and not any(map(AUXILIARY.match, wanted))]

    missing = [key for key in wanted if key not in found]
    reshaped = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    classifier = [key for key in reshaped if CLASSIFIER.match(key)]
    random = list(classifier) if reset_classifier else []
    random += [key for key in missing if init_aux and AUXILIARY.match(key)]
    problems = _problems(wanted, found, {*dropped, *random}, "the network")
    if problems:
        advice = _advice(payload, given, wanted, missing, reshaped, classifier)
        raise WeightsError(f"{source} does not fit the network{advice}\n  " + "\n  ".join(problems))
    taken = [key for key in wanted if key in found and key not in random]
    net.load_state_dict({own[key]: found[key] for key in taken}, strict=False)
    return Report(tuple(taken), tuple(dropped), tuple(random), averaged)


def published_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """Returns the network's state dict under the published keys, the form every checkpoint is saved in."""
    return {published_key(net, key): value for key, value in net.state_dict().items()}


def backbone_of(arch: str) -> str:
    """Returns the name of an architecture's backbone, the last part of its own."""
    return arch.rsplit("_", 1)[-1]


def imagenet_file(backbone: str) -> str:
    """Returns the name of a backbone's ImageNet file under pretrained_models/."""
    return IMAGENET_FILES.get(backbone, f"{backbone}.pth")


def load_imagenet(net: nn.Module, arch: str, pretrained: str,
                  folder: str | Path = PRETRAINED) -> Report | None:
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
    backbone = net.get_submodule("backbone")
    if isinstance(backbone, TimmBackbone) and pretrained == "auto":
        return _load_from_timm(backbone)
    backbone_name = arch.partition(":")[2] or backbone_of(arch)
    path = Path(folder) / imagenet_file(backbone_name) if pretrained == "auto" else Path(pretrained)
    if not path.is_file():
        raise FileNotFoundError(
            f"no ImageNet weights for {arch} at {path}: the file must hold the state dict of {backbone_name} "
            "(see pretrained_models/README.md). Put it there, name another with --pretrained PATH, start from random "
            "weights with --pretrained none (expect about 5 points of mIoU less on Cityscapes), or take a backbone "
            "whose weights are fetched for you, such as --arch sfnet_timm:resnet18d.")
    given = state_dict(read(path), False, str(path))
    adopted, left_out = drop_unused(net, {f"backbone.{imagenet_key(backbone, key)}": value for key, value in given.items()})
    found = {key.removeprefix("backbone."): value for key, value in adopted.items()}
    dropped = [key.removeprefix("backbone.") for key in left_out]
    dropped += [key for key in found if IMAGENET_CLASSIFIER.match(key)]
    wanted = backbone.state_dict()
    problems = _problems(wanted, found, set(dropped), "the backbone")
    if problems:
        guess = guess_architecture(given)
        raise WeightsError(f"{path} does not hold the backbone {backbone_name} of {arch}"
                           + (f": it looks like {guess}" if guess else "") + "\n  " + "\n  ".join(problems))
    backbone.load_state_dict({key: found[key] for key in wanted})
    return Report(tuple(wanted), tuple(dropped))


def _load_from_timm(backbone: TimmBackbone) -> Report:
    """Fills the backbone with the weights that timm fetches, and keeps in its cache."""
    try:
        source = TimmBackbone(backbone.name, pretrained=True)
    except Exception as error:                              # whatever the client of timm's hub raises
        raise WeightsError(
            f"timm could not fetch the weights of {backbone.name} ({type(error).__name__}: {error}). Try again with a "
            "connection, name a file with --pretrained PATH, or start from random weights with --pretrained none "
            "(expect about 5 points of mIoU less on Cityscapes).") from error
    backbone.load_state_dict(source.state_dict())
    return Report(tuple(source.state_dict()))


def state_dict(payload: Mapping[str, Any], ema: bool, source: str) -> dict[str, Tensor]:
    """Takes the tensors out of what `read` returned, and the wrappers' prefixes off their keys.

    Args:
        ema: takes the averaged weights of a run's checkpoint.
        source: named in errors.

    Raises:
        WeightsError: there are none, or something else is among them.
    """
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


def _advice(payload: Mapping[str, Any], given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], missing: list[str],
            reshaped: list[str], classifier: list[str]) -> str:
    """What most likely went wrong, and the way out."""
    if reshaped and reshaped == classifier and not missing:
        return (": it was trained on another number of classes. Choose its dataset, or start the classifier anew with "
                "--reset_classifier (reset_classifier=True).")
    if missing and all(AUXILIARY.match(key) for key in missing) and not reshaped:
        return ": it has no auxiliary heads. Build the network without deep supervision, or pass init_aux=True."
    says, wants = payload.get("arch") or guess_architecture(given), guess_architecture(wanted)
    if says is None:
        return ": it holds another network, which is none of those here."
    if says == wants:
        return f": it looks like {says}, but damaged, or with other options than the network's."
    return f": it looks like {says}, not {wants}. Name its own architecture with --arch {says}."


def _problems(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], excused: set[str], where: str) -> list[str]:
    """Returns a line for each way in which the file's tensors are not those that are wanted."""
    missing = [key for key in wanted if key not in found and key not in excused]
    unexpected = [key for key in found if key not in wanted and key not in excused]
    lines = [f"{len(keys)} {what}: {_listing(keys)}" for keys, what in
             ((missing, "missing from the file"), (unexpected, f"not in {where}")) if keys]
    return lines + [f"{key}: {tuple(found[key].shape)} in the file, {tuple(value.shape)} in {where}"
                    for key, value in wanted.items()
                    if key in found and key not in excused and found[key].shape != value.shape]


def _listing(keys: Iterable[str], most: int = 12) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def write_safetensors(payload: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint without a pickle: `state_dict` as tensors, the rest as JSON in the file's header.

    Raises:
        ImportError: the package safetensors is not installed.
    """
    from safetensors.torch import save_file
    rest = {name: value for name, value in payload.items() if name != "state_dict"}
    tensors = {name: value.contiguous() for name, value in payload["state_dict"].items()}
    save_file(tensors, path, metadata={"format": "pt", HEADER: json.dumps(rest)})


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise WeightsError(f"{path} needs the package safetensors: pip install safetensors") from error
    try:
        with safe_open(path, framework="pt") as file:
            rest = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            return {**rest, "state_dict": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({path.stat().st_size:,} bytes): "
                           "copy or download it again") from error


def _numpy_scalars() -> list[Any]:
    """What the pickles of published files name besides tensors: numpy's scalars, under its old and new module path."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [each for each in vars(np.dtypes).values() if isinstance(each, type)]
    return [np.dtype, *dtypes, *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core"))]
