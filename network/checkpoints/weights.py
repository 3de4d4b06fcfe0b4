"""Reading weights strictly: checkpoints of runs and published checkpoints.

`network.checkpoints.keys` holds the differences between published keys and our own.
"""
from __future__ import annotations

import hashlib
import json
import pickle
import pickletools
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from network.checkpoints import WeightsError
from network.checkpoints.keys import (
    classifier_keys,
    drop_unused,
    guess_architecture,
    has_head,
    is_auxiliary,
    is_training_head,
    published_key,
)
from network.checkpoints.model_folder import MODEL, payload_beside
from network.checkpoints.paths import CHECKPOINTS, checkpoint_path, shipped
from network.model import SceneParser

# Parts of keys that wrappers of the network, or of a submodule, insert: DataParallel and averaged
# models, torch.compile, FSDP, activation checkpointing, Lightning Fabric.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
            "_forward_module")
# The counter that `torch.optim.swa_utils.AveragedModel` adds to the state dict.
AVERAGING_COUNTER = "n_averaged"
# Attributes under which a user's training class, such as a LightningModule, holds the network.
ATTRIBUTES = ("model", "net", "network")
# The entry of a safetensors file's metadata that holds the rest of a checkpoint.
HEADER = "sfsegnets"
# Where a checkpoint may hold its state dict.
NESTINGS = ("state_dict", "model_state_dict", "model", "net", "module")
# Start of a file that Git LFS has not replaced by its content.
LFS_POINTER = b"version https://git-lfs"
# Modules whose classes a pickle of tensors names.
TENSOR_MODULES = ("torch", "torch._utils", "torch._tensor", "torch.storage", "torch.serialization",
                  "numpy.dtypes")
# Where numpy's scalars are defined: the path of old versions, and that of new ones.
NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
# Other names that are read from a pickle.
HARMLESS = ("collections.OrderedDict", "numpy.dtype", "_codecs.encode", *NUMPY_SCALARS)


@dataclass(frozen=True)
class Report:
    """The result of `load`, as lists of published keys.

    Attributes:
        loaded: keys that were loaded from the file.
        dropped: keys of the file that the network does not have.
        random: keys of the network whose values stay random.
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

    Args:
        path: of a file, of the folder of a run or of a model folder, or a shipped network's name:
            see `checkpoint_path`.

    Returns:
        The dict in the file, on the CPU: a run's checkpoint, a published one, or a state dict.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is a web page, is truncated, is not a checkpoint, or its pickle names
            foreign code.
    """
    path = checkpoint_path(path)
    if path.is_dir():
        raise FileNotFoundError(f"the folder {path} holds no checkpoint ({', '.join(CHECKPOINTS)}):"
                                " give the folder of a run, or the path of a .pth file")
    if not path.is_file():
        names = f", or a shipped network ({', '.join(shipped())})" if shipped() else ""
        raise FileNotFoundError(f"no weights at {path}: give the path of a .pth file{names}")
    with path.open("rb") as file:
        start = file.read(64)
    if start.lstrip()[:1] == b"<":
        raise WeightsError(f"{path} is a web page, not weights: the download link answered with "
                           "HTML (a sign-in or quota page). Download it again in a browser.")
    if start.startswith(LFS_POINTER):
        raise WeightsError(f"{path} is a pointer of Git LFS, not weights: fetch the file itself "
                           "with `git lfs pull`.")
    is_zip = zipfile.is_zipfile(path)
    # In a model folder, no pickle is read under the name of a file without one.
    if (_is_safetensors(start) or path.name == MODEL
            or (path.suffix == ".safetensors" and not is_zip)):
        return _read_safetensors(path)
    if start[:2] == b"PK" and not is_zip:
        raise _truncated(path, "truncated")
    payload = _unpickle(path, is_zip)
    if not isinstance(payload, dict):
        raise WeightsError(f"{path} holds a {type(payload).__name__}, not a dict of weights")
    return payload


def load(net: SceneParser, path_or_state_dict: str | Path | Mapping[str, Any],
         reset_classifier: bool = False, init_aux: bool = False,
         ema: bool | None = False) -> Report:
    """Loads weights strictly: every key must be present, known, and of the right shape.

    There are three exceptions, which the report names. Auxiliary heads of the file, and what else
    only its training needed, are dropped if the network has none. With `reset_classifier`, a
    classifier of another class count stays random; with `init_aux`, so do auxiliary heads that the
    file lacks.

    Args:
        net: a network of `network.build`.
        path_or_state_dict: a file, a dict returned by `read`, or a state dict under published
            keys or those of `net`.
        reset_classifier: keeps a random classifier if that of the file has another class count.
        init_aux: keeps random auxiliary heads if the file has none.
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
             for key, value in state_dict(payload, averaged, source, net.state_dict()).items()}
    own_keys = {published_key(net, key): key for key in net.state_dict()}
    expected = published_state_dict(net)
    usable, dropped = drop_unused(net, given)
    for is_optional in (is_auxiliary, is_training_head):
        if not any(is_optional(net, key) for key in expected):
            dropped += [key for key in usable if is_optional(net, key)]

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


def state_dict(payload: Mapping[str, Any], ema: bool, source: str,
               own_keys: Iterable[str] = ()) -> dict[str, Tensor]:
    """Returns the tensors of a dict of `read`, under keys without the names of wrappers.

    Wrappers may be nested in any order, and may be around submodules of the network.

    Args:
        ema: whether to return the averaged weights of a run's checkpoint.
        source: the name of the file, for errors.
        own_keys: the keys of the network. A few models of timm have a submodule named `module`,
            which is not a wrapper.

    Raises:
        WeightsError: there are no tensors, there are other values among them, or two tensors have
            the same key without wrappers.
    """
    if ema:
        if not isinstance(payload.get("ema"), Mapping):
            raise WeightsError(f"{source} holds no averaged weights: its run averaged none")
        payload = payload["ema"]
    while nesting := next((name for name in NESTINGS if isinstance(payload.get(name), Mapping)),
                          None):
        payload = payload[nesting]
    foreign = [key for key, value in payload.items() if not isinstance(value, Tensor)]
    if foreign or not payload:
        reason = f"{_listing(foreign)} are not tensors" if foreign else "it is empty"
        raise WeightsError(f"{source} is not a state dict: {reason}")
    own_parts = {part for key in own_keys for part in key.split(".")}
    tensors: dict[str, Tensor] = {}
    for key, value in payload.items():
        bare = _without_wrappers(key, own_parts)
        if bare == AVERAGING_COUNTER:
            continue
        if bare in tensors:
            raise WeightsError(f"{source} is not a state dict: without the names of wrappers, two "
                               f"tensors are called {bare}")
        tensors[bare] = value
    return _without_attribute(tensors)


def _without_wrappers(key: str, own_parts: Collection[str]) -> str:
    """Removes all wrappers from the front of a key, and from elsewhere all but `own_parts`."""
    parts = key.split(".")
    while len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    return ".".join(part for part in parts if part not in WRAPPERS or part in own_parts)


def _without_attribute(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of a whole network without the attribute that held it, if one did.

    A backbone of timm starts all of its keys with `model.` too, but it has no head.
    """
    first_parts = {key.partition(".")[0] for key in tensors}
    if len(first_parts) != 1 or first_parts.isdisjoint(ATTRIBUTES):
        return tensors
    inner = {key.partition(".")[2]: value for key, value in tensors.items()}
    return inner if has_head(inner) else tensors


def write_safetensors(payload: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint without a pickle: its `state_dict` as tensors, the rest as JSON metadata.

    Raises:
        ImportError: the package safetensors is not installed.
    """
    rest = {name: value for name, value in payload.items() if name != "state_dict"}
    write_tensors(payload["state_dict"], path, {HEADER: json.dumps(rest)})


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path,
                  metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file.

    Raises:
        ImportError: the package safetensors is not installed.
    """
    from safetensors.torch import save_file
    save_file({name: value.contiguous() for name, value in tensors.items()}, path,
              metadata={"format": "pt", **(metadata or {})})


@dataclass(frozen=True)
class Comparison:
    """The differences between the tensors of a file and the expected ones.

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
    guess, built = guess_architecture(given), guess_architecture(comparison.expected)
    stored = payload.get("arch") or guess
    # the keys of a network on a timm backbone only show its family
    if stored and guess not in (None, stored.partition(":")[0], built):
        return f": it says that it is {stored}, but its tensors look like those of {guess}."
    if stored is None:
        return ": it holds a network that is not one of those here."
    if stored == built:
        return f": it looks like {stored}, but damaged, or with other options than the network's."
    return (f": it looks like {stored}, not {built}. Choose the architecture of the file, "
            f"arch={stored}.")


def _listing(keys: Iterable[str], most: int = 12) -> str:
    keys = list(keys)
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _unpickle(path: Path, is_zip: bool) -> Any:
    """Returns the content of a zip or legacy file, which may be tensors and numbers only."""
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), path.open("rb") as file:
            # For a path with this suffix, torch would use another reader.
            is_mapped = is_zip and path.suffix != ".safetensors"
            return torch.load(path if is_mapped else file, map_location="cpu", weights_only=True,
                              mmap=is_mapped)
    except pickle.UnpicklingError as error:
        foreign = _foreign_globals(path, is_zip, str(error))
        if foreign:
            raise WeightsError(
                f"{path} was refused: its pickle names {_listing(foreign, 4)}, which is neither a "
                "tensor nor a number, and could run code. If you trust the file, load it where "
                "these classes are installed and save the tensors alone: "
                "payload = torch.load(FILE, weights_only=False), then "
                'torch.save(payload["state_dict"], NEW_FILE), or '
                "torch.save(payload.state_dict(), NEW_FILE) if it holds a whole network."
            ) from error
        raise WeightsError(
            f"{path} is not a checkpoint, or is damaged: copy or download it again") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if is_zip:
            _refuse_other_archive(path)
        raise _truncated(path, "truncated or damaged") from error


def _foreign_globals(path: Path, is_zip: bool, message: str) -> list[str]:
    """Returns the classes and functions that a pickle names besides those of tensors.

    Args:
        message: torch's error, which names only the first of them, and none in pickles of
            protocol 4 and later.
    """
    match = re.search(r"GLOBAL ([\w.]+)", message)
    foreign = [match[1]] if match else []
    foreign += [name for name in _pickled_globals(path, is_zip)
                if name.rpartition(".")[0] not in TENSOR_MODULES and name not in HARMLESS]
    return list(dict.fromkeys(foreign))


def _pickled_globals(path: Path, is_zip: bool) -> Iterator[str]:
    """Yields the classes and functions that a file's pickles name; imports none of them."""
    # The last two strings: protocol 4 names a class by two strings on the stack.
    strings = ["", ""]
    memo: list[str] = []
    try:
        with _open_pickle(path, is_zip) as file:
            # a legacy file holds several pickles, and then the tensors
            while True:
                memo.clear()
                for opcode, argument, _ in pickletools.genops(file):
                    if opcode.name in ("GLOBAL", "INST"):
                        yield str(argument).replace(" ", ".")
                    elif opcode.name == "STACK_GLOBAL":
                        yield ".".join(strings)
                    elif opcode.name == "MEMOIZE":
                        memo.append(strings[-1])
                    elif "UNICODE" in opcode.name:
                        strings = [strings[-1], str(argument)]
                    elif opcode.name in ("BINGET", "LONG_BINGET"):
                        assert isinstance(argument, int)
                        if argument < len(memo):
                            strings = [strings[-1], memo[argument]]
    # the end, or bytes that are not a pickle
    except (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile):
        return


def _open_pickle(path: Path, is_zip: bool) -> IO[bytes]:
    if not is_zip:
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    return archive.open(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def _refuse_other_archive(path: Path) -> None:
    """Raises WeightsError if a zip file holds a program of torch in place of a state dict."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.namelist()
    if any(name.endswith("constants.pkl") or "/code/" in name for name in entries):
        raise WeightsError(
            f"{path} is a TorchScript program, not weights. Save its tensors alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE).")
    if not any(name.endswith("data.pkl") for name in entries):
        raise WeightsError(f"{path} is a zip file that torch.save did not write (it holds "
                           f"{_listing(entries, 3)}): give the checkpoint of a run, or a state "
                           "dict.")


def _is_safetensors(start: bytes) -> bool:
    """Returns whether a file starts as safetensors do: with 8 bytes of a length, then JSON."""
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise WeightsError(f"{path} needs the package safetensors: "
                           "pip install safetensors") from error
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            # in a model folder, a header of an earlier form of the file does not count
            rest = payload_beside(path) or json.loads(header or "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except WeightsError:
        raise
    except (SafetensorError, ValueError) as error:
        raise _truncated(path, "truncated or damaged") from error
    return {**rest, "state_dict": tensors}


def _truncated(path: Path, state: str) -> WeightsError:
    return WeightsError(f"{path} is {state} ({path.stat().st_size:,} bytes): "
                        "copy or download it again")


def _numpy_scalars() -> list[Any]:
    """Returns numpy's scalars, which published pickles contain, for `torch.load`'s allow-list.

    They are listed under the old and the new path of their module.
    """
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [value for value in vars(np.dtypes).values() if isinstance(value, type)]
    return [np.dtype, *dtypes, *((scalar, path) for path in NUMPY_SCALARS)]
