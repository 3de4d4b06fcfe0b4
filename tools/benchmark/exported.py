"""A file of `tools.export` in onnxruntime, as one of the contenders of a benchmark."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tools.export.formats import FORMATS


def labels(path: Path, arch: str, host_copies: bool) -> Callable[[Tensor], Tensor]:
    """Returns the file as a function from images to labels, on a CPU, with as many threads as torch
    has.

    Args:
        arch: of the network that it is compared with.
        host_copies: whether images are given as uint8 RGB, or normalized.

    Raises:
        ValueError: onnxruntime or the file is missing, or it holds another network, takes other
            images or gives no labels. So does the function, for images of another size or batch.
    """
    row = FORMATS["onnx"]
    row.require()
    if not path.is_file():
        raise ValueError(
            f"onnx:{path}: there is no such file: make it with python -m tools.export --format onnx"
        )
    try:
        run, stored = row.open(path)
        facts = {name: json.loads(text) for name, text in stored.items()}
    except Exception as error:
        # onnxruntime's errors have no base of their own
        raise ValueError(
            f"onnx:{path} is damaged, or not made by python -m tools.export ({error}): export it "
            "again"
        ) from error
    expected = {"arch": arch, "input": "rgb" if host_copies else "normalized", "output": "labels"}
    for name, value in expected.items():
        if facts.get(name) != value:
            raise ValueError(
                f"onnx:{path}: its {name} is {facts.get(name)}, and {value} is measured: export it "
                "again, or choose other flags"
            )

    def checked(images: Tensor) -> Tensor:
        shape = [1, *facts["size"]]
        if not facts["dynamic"] and [images.shape[0], *images.shape[2:]] != shape:
            raise ValueError(
                f"onnx:{path} takes batches of 1 and {shape[1]}x{shape[2]} only: change --batch "
                "and --size, or export it with --dynamic"
            )
        return run(images.cpu().contiguous())

    return torch.inference_mode()(checked)
