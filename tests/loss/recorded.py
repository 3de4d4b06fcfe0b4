"""The recorded numbers of the losses."""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor


def recorded(parity: Path) -> tuple[dict, ModuleType]:
    source = importlib.util.spec_from_file_location("fixture_weights", parity / "weights.py")
    assert source and source.loader
    makers = importlib.util.module_from_spec(source)
    source.loader.exec_module(makers)
    return json.loads((parity / "losses.json").read_text()), makers


def drawn(seed: int, shape: list[int] | tuple[int, ...]) -> Tensor:
    return torch.from_numpy(
        np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)
    )
