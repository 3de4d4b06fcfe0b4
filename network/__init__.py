"""Scene parsing networks: a table of architectures, `build`, and the loading of weights.

Imports no other package of the project, so that `torch.hub` can load it alone.
"""
from __future__ import annotations

import sys
import warnings
from typing import Any

from network.batch_statistics import check_batch_statistics
from network.checkpoints import weights
from network.checkpoints.initial import load_initial_weights, set_normalization
from network.checkpoints.model_folder import ModelConfig
from network.checkpoints.pretrained import from_pretrained, save_pretrained
from network.checkpoints.teacher import load_teacher
from network.fuse import fuse_for_inference
from network.initialization import INITIALIZATIONS, initialize
from network.options import NetworkOptions, add_flags, build_options, flags_in_errors, with_flags
from network.registry import build, has_body_edge_outputs, names, resolve_name

__all__ = [
    "INITIALIZATIONS",
    "ModelConfig",
    "NetworkOptions",
    "add_flags",
    "build",
    "build_options",
    "check_batch_statistics",
    "flags_in_errors",
    "from_pretrained",
    "fuse_for_inference",
    "has_body_edge_outputs",
    "initialize",
    "load_initial_weights",
    "load_teacher",
    "names",
    "resolve_name",
    "save_pretrained",
    "set_normalization",
    "weights",
    "with_flags",
]

# `from network.weights import load` works, although the module is in `network.checkpoints`.
sys.modules[f"{__name__}.weights"] = weights

# Former names, for one release.
_RENAMED = {"canonical": "resolve_name", "deployed": "fuse_for_inference",
            "initialise": "initialize"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"network.{name} is deprecated: use network.{_RENAMED[name]}",
                  DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]
