"""Reading weights strictly: checkpoints of runs and published checkpoints.

`network.checkpoints.keys` holds the differences between published keys and our own.
"""
from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from network.checkpoints.keys import (
    classifier_keys,
    drop_unused,
    guess_architecture,
    is_auxiliary,
    published_key,
)
from network.model import SceneParser

# What DataParallel and torch.compile put before the keys.
PREFIXES = ("module.", "_orig_mod.")
# The entry of a safetensors file's metadata that holds the rest of a checkpoint.
HEADER = "sfsegnets"
# Where a checkpoint may hold its state dict.
NESTINGS = ("state_dict", "model_state_dict", "model", "net")


class WeightsError(ValueError):
    """A file cannot be read as weights, or does not fit the network. The message has a remedy."""


@dataclass(frozen=True)
class Report:
    """What `load` did, as published keys.

    Attributes:
        loaded: taken from the file.
        dropped: in the file, but not in the network.
        random: in the network, where they keep their random values.
        averaged: whether the loaded weights are the averaged ones of a run.
        file: the ImageNet file that was read; the text of the report gives its SHA-256.
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    averaged: bool = False
    file: Path | None = None

    def __str__(self) -> str:
        kind = "averaged tensors" if self.averaged else "tensors"
        clauses = [f"{len(self.loaded)} {kind} loaded"]
        if self.file is not None:
            digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
            clauses[0] += f" from {self.file} (SHA-256 {digest})"
        if self.dropped:
            clauses.append(f"{len(self.dropped)} left out: {_listing(self.dropped)}")
        if self.random:
            clauses.append(f"{len(self.random)} kept random: {_listing(self.random)}")
        return "; ".join(clauses)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file in zip, legacy or safetensors format; runs no code from it.

    Returns:
        The dict in the file, on the CPU: a run's checkpoint, a published one, or a state dict.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is a web page, is truncated, is no checkpoint, or its pickle names
            foreign code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: give the path of a .pth file")
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start[:1] == b"<":
        raise WeightsError(f"{path} is a web page, not weights: the download link answered with "
                           "HTML (a sign-in or quota page). Download it again in a browser.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    is_zip = zipfile.is_zipfile(path)
    if start[:2] == b"PK" and not is_zip:
        raise _truncated(path, "truncated")
    payload = _unpickle(path, is_zip)
    if not isinstance(payload, dict):
        raise WeightsError(f"{path} holds a {type(payload).__name__}, not a dict of weights")
    return payload


def load(net: SceneParser, path_or_state_dict: str | Path | Mapping[str, Any],
         reset_classifier: bool = False, init_aux: bool = False,
         ema: bool | None = False) -> Report:
    """Loads weights strictly: every key has to be there, be known and have the right shape.

    There are three exceptions, which the report names. Auxiliary heads of the file are dropped if
    the network has none. With `reset_classifier`, a classifier of another class count stays
    random; with `init_aux`, so do auxiliary heads that the file lacks.

    Args:
        net: a network of `network.build`.
        path_or_state_dict: a file, a dict returned by `read`, or a state dict in published or
            own keys.
        ema: whether to take the averaged weights of a run's checkpoint; None takes them if there
            are any.

    Raises:
        FileNotFoundError: as in `read`.
        WeightsError: as in `read`; or keys are missing, unexpected or of another shape, which the
            message lists. The network is unchanged then.
    """
    if isinstance(path_or_state_dict, str | Path):
        source, payload = str(path_or_state_dict), read(path_or_state_dict)
    else:
        source, payload = "the given state dict", dict(path_or_state_dict)
    averaged = payload.get("ema") is not None if ema is None else ema
    given = {published_key(net, key): value
             for key, value in state_dict(payload, averaged, source).items()}
    own_keys = {published_key(net, key): key for key in net.state_dict()}
    expected = published_state_dict(net)
    usable, dropped = drop_unused(net, given)
    if not any(is_auxiliary(net, key) for key in expected):
        dropped += [key for key in usable if is_auxiliary(net, key)]

    comparison = Comparison.of(expected, usable, classifier_keys(net))
    random = [*comparison.classifier] if reset_classifier else []
    if init_aux:
        random += [key for key in comparison.missing if is_auxiliary(net, key)]
    problems = comparison.problems({*dropped, *random}, "the network")
    if problems:
        advice = _advice(net, payload, given, comparison)
        raise WeightsError("\n  ".join([f"{source} does not fit the network{advice}", *problems]))
    loaded = [key for key in expected if key in usable and key not in random]
    net.load_state_dict({own_keys[key]: usable[key] for key in loaded}, strict=False)
    return Report(tuple(loaded), tuple(dropped), tuple(random), averaged)


def published_state_dict(net: SceneParser) -> dict[str, Tensor]:
    """Returns the state dict under the published keys, the form in which checkpoints are saved."""
    return {published_key(net, key): value for key, value in net.state_dict().items()}


def state_dict(payload: Mapping[str, Any], ema: bool, source: str) -> dict[str, Tensor]:
    """Returns the tensors of a dict of `read`, without the prefixes of wrappers in their keys.

    Args:
        ema: whether to take the averaged weights of a run's checkpoint.
        source: the name of the file, for errors.

    Raises:
        WeightsError: there are no tensors, or there are other values among them.
    """
    if ema:
        if not isinstance(payload.get("ema"), Mapping):
            raise WeightsError(f"{source} holds no averaged weights: its run averaged none")
        payload = payload["ema"]
    for nesting in NESTINGS:
        if isinstance(payload.get(nesting), Mapping):
            payload = payload[nesting]
            break
    foreign = [key for key, value in payload.items() if not isinstance(value, Tensor)]
    if foreign or not payload:
        reason = f"{_listing(foreign)} are not tensors" if foreign else "it is empty"
        raise WeightsError(f"{source} is no state dict: {reason}")
    tensors = {}
    for key, value in payload.items():
        for prefix in PREFIXES:
            key = key.removeprefix(prefix)
        tensors[key] = value
    return tensors


def write_safetensors(payload: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint without a pickle: its `state_dict` as tensors, the rest as JSON metadata.

    Raises:
        ImportError: the package safetensors is not installed.
    """
    from safetensors.torch import save_file
    rest = {name: value for name, value in payload.items() if name != "state_dict"}
    tensors = {name: value.contiguous() for name, value in payload["state_dict"].items()}
    save_file(tensors, path, metadata={"format": "pt", HEADER: json.dumps(rest)})


@dataclass(frozen=True)
class Comparison:
    """How the tensors of a file differ from the expected ones.

    Attributes:
        expected, given: key -> tensor, of the network and of the file.
        missing: keys that the file lacks.
        unexpected: keys that only the file has.
        reshaped: keys of both, with different shapes.
        classifier: those of `reshaped` whose shape depends on the class count.
    """

    expected: Mapping[str, Tensor]
    given: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    classifier: list[str]

    @classmethod
    def of(cls, expected: Mapping[str, Tensor], given: Mapping[str, Tensor],
           classifier: Collection[str] = ()) -> Comparison:
        reshaped = [key for key, value in expected.items()
                    if key in given and given[key].shape != value.shape]
        return cls(
            expected,
            given,
            missing=[key for key in expected if key not in given],
            unexpected=[key for key in given if key not in expected],
            reshaped=reshaped,
            classifier=[key for key in reshaped if key in classifier],
        )

    def problems(self, excused: Collection[str], where: str) -> list[str]:
        """Returns a line for each kind of difference, without the excused keys.

        Args:
            where: what the file is compared with, for the text.
        """
        lines = []
        for keys, kind in ((self.missing, "missing from the file"),
                           (self.unexpected, f"not in {where}")):
            keys = [key for key in keys if key not in excused]
            if keys:
                lines.append(f"{len(keys)} {kind}: {_listing(keys)}")
        lines += [f"{key}: {tuple(self.given[key].shape)} in the file, "
                  f"{tuple(self.expected[key].shape)} in {where}"
                  for key in self.reshaped if key not in excused]
        return lines


def _advice(net: SceneParser, payload: Mapping[str, Any], given: Mapping[str, Tensor],
            comparison: Comparison) -> str:
    """Returns the most likely cause and its remedy, to follow "does not fit the network"."""
    missing, reshaped = comparison.missing, comparison.reshaped
    if reshaped and reshaped == comparison.classifier and not missing:
        return (": it was trained on another number of classes. Choose its dataset, or start with "
                "a random classifier, reset_classifier=True.")
    if missing and all(is_auxiliary(net, key) for key in missing) and not reshaped:
        return (": it has no auxiliary heads. Build the network without deep supervision, or "
                "start with random ones, init_aux=True.")
    stored = payload.get("arch") or guess_architecture(given)
    built = guess_architecture(comparison.expected)
    if stored is None:
        return ": it holds a network that is none of those here."
    if stored == built:
        return f": it looks like {stored}, but damaged, or with other options than the network's."
    return (f": it looks like {stored}, not {built}. Choose the architecture of the file, "
            f"arch={stored}.")


def _listing(keys: Iterable[str], most: int = 12) -> str:
    keys = list(keys)
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _unpickle(path: Path, is_zip: bool) -> Any:
    """Returns the content of a zip or legacy file, of tensors and numbers alone."""
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"(?:GLOBAL|global:?) `?([\w.]+)`?", str(error))
        if foreign and "." in foreign[1]:
            raise WeightsError(
                f"{path} was refused: its pickle names {foreign[1]}, which is neither a tensor "
                "nor a number, and could run code. Save a plain state dict instead: "
                "torch.save(net.state_dict(), FILE).") from error
        raise WeightsError(
            f"{path} is no checkpoint, or is damaged: copy or download it again") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise _truncated(path, "truncated or damaged") from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise WeightsError(f"{path} needs the package safetensors: "
                           "pip install safetensors") from error
    try:
        with safe_open(path, framework="pt") as file:
            rest = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise _truncated(path, "truncated or damaged") from error
    return {**rest, "state_dict": tensors}


def _truncated(path: Path, state: str) -> WeightsError:
    return WeightsError(f"{path} is {state} ({path.stat().st_size:,} bytes): "
                        "copy or download it again")


def _numpy_scalars() -> list[Any]:
    """Returns what published pickles name besides tensors, for the allow-list of `torch.load`.

    These are numpy's scalars, under the old and the new path of their module.
    """
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [value for value in vars(np.dtypes).values() if isinstance(value, type)]
    paths = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [np.dtype, *dtypes, *((scalar, path) for path in paths)]
