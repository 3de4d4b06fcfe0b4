"""A packed network of CamVid's classes, and scores of the checkpoint that it was packed from."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import datasets
from tools.weights import __main__ as weights
from utils.evaluation.metrics import ConfusionMatrix
from utils.files import sha256


@pytest.fixture(scope="session")
def packed(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `tools.weights pack` writes."""
    folder = tmp_path_factory.mktemp("packed") / "model"
    assert weights.main(["pack", "--snapshot", str(snapshot), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def scores(snapshot: Path) -> dict[str, Any]:
    """The object of a `scores.json`: 8 of 10 pixels of each of CamVid's 11 classes are right."""
    names = list(datasets.spec("camvid").names)
    matrix = ConfusionMatrix(len(names))
    matrix.add(8 * torch.eye(len(names), dtype=torch.int64)
               + 2 * torch.eye(len(names), dtype=torch.int64).roll(1, 1))
    settings = {"dataset": "camvid", "split": "test", "weights": "raw", "precision": "bf16",
                "inference_mode": "sliding", "crop_size": [360, 480], "scales": [1.0],
                "flip": True, "average": "probabilities", "sliding_overlap": 1 / 3}
    return {**matrix.summary(names), "mIoU_interval": [0.6, 0.7],
            "mIoU_interval_groups": 13, "images": 233,
            "arch": "sfnet_dfnetv1", "snapshot_sha256": sha256(snapshot), "settings": settings}


@pytest.fixture
def scores_file(scores: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores))
    return path
