"""Files of weights, read without running code from them: zip, legacy and safetensors formats."""
from __future__ import annotations

import json
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from network.checkpoints import WeightsError
from network.checkpoints.model_folder import MODEL, payload_beside
from network.checkpoints.paths import CHECKPOINTS, checkpoint_path, shipped

# The entry of a safetensors file's metadata that holds the rest of a checkpoint.
HEADER = "sfsegnets"
# Ends of the names of what `tools.export` writes.
EXPORTED = (".onnx", ".xml", ".pt2")
# Start of a file that Git LFS has not replaced by its content.
LFS_POINTER = b"version https://git-lfs"
# Modules whose classes a pickle of tensors names.
TENSOR_MODULES = ("torch", "torch._utils", "torch._tensor", "torch.storage", "torch.serialization",
                  "numpy.dtypes")
# Where numpy's scalars are defined: the path of old versions, and that of new ones.
NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
# Other names that are read from a pickle.
HARMLESS = ("collections.OrderedDict", "numpy.dtype", "_codecs.encode", *NUMPY_SCALARS)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file in zip, legacy or safetensors format; runs no code from it.

    Args:
        path: of a file, of the folder of a run or of a model folder, or a shipped network's name:
            see `checkpoint_path`.

    Returns:
        The dict in the file, on the CPU: a run's checkpoint, a published one, or a state dict.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is a web page or an exported one, is truncated, is not a checkpoint,
            or its pickle names foreign code.
    """
    path = checkpoint_path(path)
    if path.is_dir():
        raise FileNotFoundError(f"the folder {path} holds no checkpoint ({', '.join(CHECKPOINTS)}):"
                                " give the folder of a run, or the path of a .pth file")
    if not path.is_file():
        names = f", or a shipped network ({', '.join(shipped())})" if shipped() else ""
        raise FileNotFoundError(f"no weights at {path}: give the path of a .pth file{names}")
    if path.suffix in EXPORTED:
        raise WeightsError(f"{path} is an exported file, not weights: give the checkpoint it was "
                           "made from")
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


def listing(keys: Iterable[str], most: int = 12) -> str:
    """Returns the first names, and how many more there are."""
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
                f"{path} was refused: its pickle names {listing(foreign, 4)}, which is neither a "
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
                           f"{listing(entries, 3)}): give the checkpoint of a run, or a state "
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
