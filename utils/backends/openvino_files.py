"""Files of OpenVINO, a pair .xml and .bin: written from ONNX, with metadata, and run on the CPU."""
from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from utils import files
from utils.backends.graph import Metadata, Run
from utils.packages import require_package

# section of the .xml file's `rt_info` that holds the metadata
SECTION = "sfsegnets"
# entry with the checksum of the .bin file: OpenVINO accepts the weights of another network
CHECKSUM = "bin_sha256"
# precision of a forward pass -> OpenVINO's name of it
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def require(needed_by: str) -> None:
    """Raises ValueError if OpenVINO is not installed or is broken; `needed_by` names the flag."""
    require_package("openvino", needed_by=needed_by, extra="openvino")


@cache
def _core() -> Any:
    """Returns the `openvino.Core` of this process: each one opens the plugins again, and ends their
    threads when it is freed.
    """
    import openvino

    return openvino.Core()


def read_onnx(path: Path) -> Any:
    """Returns the `openvino.Model` of an ONNX file.

    Not by `openvino.convert_model`, which reports its use over the network.
    """
    return _core().read_model(path)


def save(model: Any, path: Path, metadata: Metadata, *, half: bool = False) -> None:
    """Saves an `openvino.Model`.

    Args:
        path: new .xml file; the .bin file is written beside it.
        half: store the weights in float16.
    """
    import openvino

    for name, value in metadata.items():
        model.set_rt_info(value, [SECTION, name])
    openvino.save_model(model, path, compress_to_fp16=half)
    # the checksum is known once the weights are written, and stands in the other file
    checksum = json.dumps(files.sha256(weights_of(path)))
    model.set_rt_info(checksum, [SECTION, CHECKSUM])
    openvino.save_model(model, path, compress_to_fp16=half)


def weights_of(path: Path) -> Path:
    """Returns the file with the weights of an .xml file."""
    return path.with_suffix(".bin")


def open_model(path: Path, precision: str = "fp32") -> tuple[Run, Metadata]:
    """Opens a file on the CPU, with as many threads as torch has.

    Args:
        precision: one of `PRECISIONS`.

    Returns:
        A function from images to the module's output, and the metadata.

    Raises:
        ValueError: the .bin file is missing, truncated or of another .xml file.
    """
    weights = weights_of(path)
    if not weights.is_file():
        raise ValueError(f"{weights} is missing, which holds the weights of {path.name}: copy both "
                         "files")
    model = _core().read_model(path)
    metadata = _metadata(model)
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None and json.loads(checksum) != files.sha256(weights):
        raise ValueError(f"{weights} is truncated, or of another file than {path.name}: copy both "
                         "files again")
    compiled = _core().compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads()})

    # a compiled model runs one image at a time
    lock = Lock()

    def run(images: Tensor) -> Tensor:
        with lock:
            return torch.from_numpy(compiled(images.contiguous().numpy())[0])

    return run, metadata


def _metadata(model: Any) -> dict[str, str]:
    """Returns the metadata; empty for a file that this project did not write."""
    if not model.has_rt_info([SECTION]):
        return {}
    entries: Mapping[str, Any] = model.get_rt_info([SECTION]).value
    return {name: str(getattr(value, "value", value)) for name, value in entries.items()}
