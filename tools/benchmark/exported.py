"""Exported files that are measured in their own runtimes."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from utils.backends.formats import FORMATS
from utils.evaluation.label_map import label_map

# prefix of a setting -> format of its file
PREFIXES = {"onnx:": "onnx", "openvino:": "openvino"}


def split(setting: str) -> tuple[str, Path] | None:
    """Returns the format and the file of a setting; None for a setting of the predictor."""
    for prefix, name in PREFIXES.items():
        if setting.startswith(prefix):
            return name, Path(setting.removeprefix(prefix))
    return None


def labels(name: str, path: Path, arch: str, host_copies: bool) -> Callable[[Tensor], Tensor]:
    """Opens an exported file on the CPU, with as many threads as torch has.

    A file of logits is run as the predictor runs it: labels are computed from them by `label_map`.

    Args:
        name: format of the file.
        path: file that `python -m tools.export` wrote.
        arch: of the network that it is compared with.
        host_copies: whether images are given as uint8 RGB, or normalized.

    Returns:
        A function from images (N, 3, H, W) to labels (N, H, W). It raises ValueError for images of
        another size or batch than those of the file.

    Raises:
        ValueError: the runtime or the file is missing, or the file holds another network or takes
            other images.
    """
    row, setting = FORMATS[name], f"{name}:{path}"
    row.require(setting)
    if not path.is_file():
        raise ValueError(f"{setting}: there is no such file: make it with python -m tools.export "
                         f"--format {name}")
    try:
        run, stored = row.open(path)
        facts = {name: json.loads(text) for name, text in stored.items()}
    except Exception as error:
        # the errors of the runtimes have no common base class
        raise ValueError(f"{setting} is damaged, or not made by python -m tools.export "
                         f"({error}): export it again") from error
    expected = {"arch": arch, "input": "rgb" if host_copies else "normalized"}
    for name, value in expected.items():
        if facts.get(name) != value:
            raise ValueError(f"{setting}: its {name} is {facts.get(name)}, and {value} is "
                             "measured: export it again, or choose other flags")

    def predict(images: Tensor) -> Tensor:
        batch, _, *image_size = images.shape
        if not facts["dynamic"] and (batch != 1 or image_size != facts["size"]):
            height, width = facts["size"]
            raise ValueError(f"{setting} takes batches of 1 and {height}x{width} only: change "
                             "--batch and --size, or export it with --dynamic")
        output = run(images.cpu().contiguous())
        if facts["output"] == "labels":
            return output
        return label_map(output, (image_size[0], image_size[1]))

    return torch.inference_mode()(predict)
