"""Two scored runs on a small made-up CamVid, and the pages of their reports."""
from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

import datasets
import eval as evaluation
import network
from network.weights import published_state_dict
from tools import report

IMAGES = 12


class Scored(NamedTuple):
    """Folders of two runs, the data that both were scored on, and the pages of A alone and of A against B."""

    a: Path
    b: Path
    root: Path
    single: Path
    paired: Path


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    pytest.importorskip("jinja2")
    folder, rng = tmp_path_factory.mktemp("scored"), np.random.default_rng(0)
    (folder / "data/val").mkdir(parents=True)
    (folder / "data/valannot").mkdir()
    for i in range(IMAGES):
        cv2.imwrite(str(folder / f"data/val/frame{i:02}.png"), rng.integers(0, 256, (48, 64, 3), np.uint8))
        label = rng.integers(0, 4, (6, 8), np.uint8).repeat(8, 0).repeat(8, 1)      # the classes from 4 on are absent
        label[:8, :8] = 11                                                          # void
        if i % 2:
            label[label == 3] = 0
        cv2.imwrite(str(folder / f"data/valannot/frame{i:02}.png"), label)
    runs = [save(folder / name, seed) for seed, name in enumerate("ab")]
    for run, flag in zip(runs, ("--report", "--no_report"), strict=True):
        assert evaluation.main(["--snapshot", str(run / "last.pth"), "--data_root", str(folder / "data"), "--precision",
                                "fp32", "--num_workers", "0", flag]) == 0
    assert report.main(["--compare", *map(str, runs)]) == 0
    return Scored(*runs, folder / "data", runs[0] / "report/index.html", runs[0] / "report/against_b.html")


@pytest.fixture(scope="session")
def two_snapshots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of two networks for CamVid's classes."""
    folder = tmp_path_factory.mktemp("two")
    return save(folder / "a", 0) / "last.pth", save(folder / "b", 1) / "last.pth"


@pytest.fixture(scope="session")
def snapshot(two_snapshots: tuple[Path, Path]) -> Path:
    """The checkpoint of one of them."""
    return two_snapshots[0]


def save(run: Path, seed: int) -> Path:
    """A run with random weights whose classifier is loud enough to predict several classes."""
    torch.manual_seed(seed)
    net = network.build("sfnet_dfnetv1", 11)
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)
    run.mkdir()
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "camvid", "classes": list(datasets.spec("camvid").names),
                "state_dict": published_state_dict(net), "ema": None}, run / "last.pth")
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "loss": 3 / i, "terms": {"main": 2 / i, "aux0": 1 / i},
              "lr": 0.01} for i in range(1, 30)]
    lines.append({"kind": "validation", "step": 29, "epoch": 2.9, "mIoU": 0.4})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run
