"""Exported files that are measured in onnxruntime."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tools.export.formats import FORMATS


def labels(path: Path, arch: str, host_copies: bool) -> Callable[[Tensor], Tensor]:
    """Opens an exported file on the CPU, with as many threads as torch has.

    Args:
        path: file that `python -m tools.export --format onnx` wrote.
        arch: of the network that it is compared with.
        host_copies: whether images are given as uint8 RGB, or normalized.

    Returns:
        A function from images (N, 3, H, W) to labels (N, H, W). It raises ValueError for images of
        another size or batch than those of the file.

    Raises:
        ValueError: onnxruntime or the file is missing, or the file holds another network, takes
            other images or returns no labels.
    """
    row = FORMATS["onnx"]
    row.require()
    if not path.is_file():
        raise ValueError(f"onnx:{path}: there is no such file: make it with python -m tools.export "
                         "--format onnx")
    try:
        run, stored = row.open(path)
        facts = {name: json.loads(text) for name, text in stored.items()}
    except Exception as error:
        # the errors of onnxruntime have no common base class
        raise ValueError(f"onnx:{path} is damaged, or not made by python -m tools.export "
                         f"({error}): export it again") from error
    expected = {"arch": arch, "input": "rgb" if host_copies else "normalized", "output": "labels"}
    for name, value in expected.items():
        if facts.get(name) != value:
            raise ValueError(f"onnx:{path}: its {name} is {facts.get(name)}, and {value} is "
                             "measured: export it again, or choose other flags")

    def predict(images: Tensor) -> Tensor:
        batch, _, *image_size = images.shape
        if not facts["dynamic"] and (batch != 1 or image_size != facts["size"]):
            height, width = facts["size"]
            raise ValueError(f"onnx:{path} takes batches of 1 and {height}x{width} only: change "
                             "--batch and --size, or export it with --dynamic")
        return run(images.cpu().contiguous())

    return torch.inference_mode()(predict)
