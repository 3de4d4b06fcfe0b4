"""Checkpoints reduced to what inference needs, as `tools.weights convert` writes them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from network.checkpoints.files import write_safetensors
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from network.model import SceneParser
from utils.files import make_folder

SUFFIXES = (".pth", ".safetensors")
# entries of a checkpoint that a converted file keeps
KEPT = ("num_classes", "dataset", "description", "classes", "mean", "std", "temperature",
        "mean_iu", "notes")


def check_new(out: Path) -> None:
    """Raises ValueError if a file of weights cannot be written under this name."""
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: the name must end in {' or '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"--out {out} exists: choose another name, or remove it first")


def reduced(trained: Snapshot, net: SceneParser) -> dict[str, Any]:
    """Returns a checkpoint without what only training needs, with the published keys.

    Args:
        net: the network that was built from `trained`.
    """
    args = dict(trained.options)
    # the size of the images that the network knows, for exports
    crop_size = (trained.payload.get("args") or {}).get("crop_size")
    if crop_size:
        args["crop_size"] = crop_size
    kept = {name: trained.payload[name] for name in KEPT if trained.payload.get(name) is not None}
    return {"arch": trained.arch, "args": args, "state_dict": published_state_dict(net), **kept}


def write(payload: Mapping[str, Any], out: Path) -> None:
    """Writes a checkpoint whole or not at all, in the format of the suffix; makes the folder.

    Raises:
        OSError: the file cannot be written.
    """
    make_folder(out.parent, "--out")
    temporary = out.with_name(out.name + ".tmp")
    try:
        if out.suffix == ".safetensors":
            write_safetensors(payload, temporary)
        else:
            torch.save(dict(payload), temporary)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
