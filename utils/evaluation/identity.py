"""What an evaluation is: its folder, what its scores depend on, and its settings.

`options`, `model` and `data` are eval.py's `Options` and `LoadedModel`, and the split.
"""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from utils import files
from utils.backends.runtimes import TORCH
from utils.evaluation.corruptions import Corruption


def default_folder(options: Any, data: Any) -> Path:
    """Returns the output folder beside the snapshot: a look at a few images has one of its own."""
    name = f"eval_{data.spec.name}_{data.split}"
    if (count := partial_count(options, data)) is not None:
        name += f"_first{count}"
    return options.snapshot.path.parent / name


def partial_count(options: Any, data: Any) -> int | None:
    """Returns how many images `--max_images` leaves of a split; None if it leaves all."""
    count = options.data.max_images
    return None if count is None or count >= len(data.samples) else count


def run_identity(options: Any, model: Any, data: Any,
                 corruption: Corruption | None = None) -> dict[str, Any]:
    """Returns everything that the scores depend on.

    Evaluations that differ in it are not mixed in one folder.
    """
    scores_boundaries = options.boundary.enabled and data.labeled
    identity = {
        **prediction_identity(options, model, data),
        "labelled": data.labeled,
        "categories": [row.category for row in data.spec.classes],
        "thresholds": options.boundary.thresholds if scores_boundaries else None,
    }
    # only if given, so that folders of older versions can be resumed
    if options.evaluation.fuse:
        identity["deployed"] = True
    if model.predictor.backend != TORCH:
        identity["backend"] = model.predictor.backend.split()[0]
    if options.evaluation.calibration and data.labeled:
        identity["temperature"] = model.predictor.temperature
    if options.evaluation.trimap and data.labeled:
        identity["trimap"] = options.evaluation.trimap
    if groups := data.groups(options.data.max_images):
        identity["groups"] = groups
    if corruption:
        identity["corruption"] = str(corruption)
    return identity


def prediction_identity(options: Any, model: Any, data: Any) -> dict[str, Any]:
    """Returns everything that the predicted label maps of a split depend on."""
    names = [sample.name for sample in data.samples[:options.data.max_images]]
    return {
        "dataset": data.spec.name,
        "split": data.split,
        "images": len(names),
        "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "classes": data.spec.names,
        "arch": model.trained.arch,
        "snapshot_sha256": files.sha256(options.snapshot.path),
        "weights": model.trained.weights,
        "precision": model.predictor.precision,
        **options.inference.settings(),
    }


def run_settings(options: Any, identity: Mapping[str, Any], model: Any,
                 data: Any) -> dict[str, Any]:
    """Returns the flags and the environment, for people and for `tools.report`, in JSON types."""
    flags = {name: value for name, value in options.flags.items()
             if name not in ("json", "ckpt_path")}
    effective = {name: identity[name] for name in ("dataset", "split", "precision", "arch",
                                                   "weights")}
    return {**flags, "snapshot": str(options.snapshot.path), "description": data.spec.description,
            "max_images": partial_count(options, data), "data_root": str(data.root),
            "device": str(model.predictor.device), "backend": model.predictor.backend,
            "torch": torch.__version__, **effective}
