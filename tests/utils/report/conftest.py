"""Folders of evaluations with random counts of three classes."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from utils.evaluation.metrics import ConfusionMatrix

CLASSES = ("road", "tree", "sky")


def random_counts(images: int = 6) -> np.ndarray:
    counts = np.random.default_rng(0).integers(1, 200, (images, 3, 3))
    return counts + 300 * np.eye(3, dtype=int)


@pytest.fixture
def counts() -> Callable[..., np.ndarray]:
    """Returns random counts (images, 3, 3), most of them on the diagonal."""
    return random_counts


@pytest.fixture
def write_evaluation() -> Callable[[Path], Path]:
    """Writes the folder of an evaluation as eval.py does; returns it."""
    def write(folder: Path, **changes: Any) -> Path:
        matrices = random_counts()
        total = ConfusionMatrix(len(CLASSES))
        total.add(torch.from_numpy(matrices.sum(0)))
        settings = {"dataset": "camvid", "split": "val", "snapshot": "last.pth"}
        scores = {**total.summary(CLASSES), "arch": "sfnet_dfnetv1", "snapshot_sha256": "0" * 64,
                  "settings": settings, **changes}
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps(scores))
        names = [f"image{i}" for i in range(len(matrices))]
        np.savez(folder / "per_image.npz", names=names, matrices=matrices, classes=CLASSES)
        return folder
    return write
