"""Two scored runs on a small made-up CamVid, and the pages of their reports."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

import datasets
import eval as evaluation
import network
from network.checkpoints.weights import published_state_dict
from tests.onnx_here import need_onnx
from tools.export import __main__ as export
from tools.report import __main__ as report
from utils.evaluation.metrics import ConfusionMatrix

IMAGES = 12


class Scored(NamedTuple):
    """Folders of two runs, the data that both were scored on, and the pages of A alone and of A
    against B.
    """

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
        cv2.imwrite(str(folder / f"data/val/frame{i:02}.png"),
                    rng.integers(0, 256, (48, 64, 3), np.uint8))
        # the classes from 4 on are absent
        label = rng.integers(0, 4, (6, 8), np.uint8).repeat(8, 0).repeat(8, 1)
        # void
        label[:8, :8] = 11
        if i % 2:
            label[label == 3] = 0
        cv2.imwrite(str(folder / f"data/valannot/frame{i:02}.png"), label)
    runs = [save(folder / name, seed) for seed, name in enumerate("ab")]
    for run, flag in zip(runs, ("--report", "--no_report"), strict=True):
        assert evaluation.main(["--snapshot", str(run / "last.pth"), "--data_root",
                                str(folder / "data"), "--precision", "fp32", "--num_workers", "0",
                                flag]) == 0
    assert report.main(["--compare", *map(str, runs)]) == 0
    return Scored(*runs, folder / "data", runs[0] / "report/index.html",
                  runs[0] / "report/against_b.html")


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
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "camvid",
                "classes": list(datasets.spec("camvid").names),
                "state_dict": published_state_dict(net), "ema": None},
               run / "last.pth")
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "loss": 3 / i,
              "terms": {"main": 2 / i, "aux0": 1 / i}, "lr": 0.01}
             for i in range(1, 30)]
    lines.append({"kind": "validation", "step": 29, "epoch": 2.9, "mIoU": 0.4})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture(scope="session")
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures in CamVid's layout: six to train on, larger than the rest, and two to
    score.
    """
    folder, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split, count, (height, width) in (("train", 6, (90, 120)), ("val", 2, (64, 96))):
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for i in range(count):
            image = cv2.resize(rng.integers(0, 256, (5, 9, 3), np.uint8), (width, height))
            label = cv2.resize(rng.integers(0, 12, (4, 6), np.uint8), (width, height),
                               interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(folder / split / f"{i}.png"), image)
            cv2.imwrite(str(folder / f"{split}annot/{i}.png"), label)
    return folder


@pytest.fixture(scope="session")
def int8_file(snapshot: Path, camvid_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of the snapshot with int8 convolutions."""
    need_onnx()
    path = tmp_path_factory.mktemp("int8") / "net.onnx"
    assert export.main(["--snapshot", str(snapshot), "--size", "64x96", "--format", "onnx",
                        "--int8", "--data_root", str(camvid_root), "--calibration_images", "5",
                        "--out", str(path)]) == 0
    return path


STUDY = """\
title: Does it help?
place: 1
question: Whether `b` is better than `a`.
rows:
  a: without
  b: with
  c: not run yet
compare:
  - [b, a]
  - [c, a]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of two rows, of two and three seeds, with a row that has no run yet."""
    folder = tmp_path / "runs" / "helps"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    for label, seeds, share in (("a", 2, 0.6), ("b", 3, 0.7)):
        for seed in range(seeds):
            keep_run(folder, label, seed, share + 0.01 * seed)
    return folder


def keep_run(study: Path, label: str, seed: int, share: float, **args: Any) -> Path:
    """Writes a kept run that got about a share of the pixels of 6 images right.

    Args:
        args: flags that its args.json says besides, or in place of, those of every run.
    """
    folder = study / f"{label}_s{seed}"
    folder.mkdir()
    words = ["python", "train.py", "--arch", f"fpn_{label}", "--dataset", "camvid", "--data_root",
             "data/camvid", "--adamw", "--seed", str(seed), "--exp", folder.name]
    flags = {"arch": f"fpn_{label}", "dataset": "camvid", "data_root": "data/camvid",
             "train_split": "trainval", "val_split": "none", "seed": seed, "exp": folder.name,
             "ckpt": "logs", "global_batch": 4, "max_epoch": 2, "max_iters": None, "ema_decay": 0.9,
             "test_mode": False, **args}
    environment = {"commit": "0123456789abcdef" * 2, "diff": "", "command": words,
                   "started": "2026-11-23T07:00:00Z", "python": "3.11.7", "torch": "2.6.0",
                   "device": "AMD EPYC", "threads": 1, "processes": 1,
                   "machine": "Linux-6.1.44-built-here-x86_64-with-glibc2.36", "precision": "bf16",
                   "data": {"files": 20, "sha256_of_names_and_sizes": "ab"}}
    lines = [{"kind": "train", "step": step, "epoch": step / 5, "loss": 4 / step,
              "terms": {"main": 4 / step}, "lr": 0.001, "images_per_second": 8.0}
             for step in (4, 8, 10)]
    rng = np.random.default_rng(seed)
    right = np.clip(rng.normal(share, 0.05, (6, 2)), 0, 1)
    hits = (100 * right).astype(np.int32)
    matrices = np.zeros((6, 2, 2), np.int32)
    matrices[:, [0, 1], [0, 1]], matrices[:, [0, 1], [1, 0]] = hits, 100 - hits
    names = ["dark", "bright"]
    matrix = ConfusionMatrix(2)
    matrix.add(torch.from_numpy(matrices.sum(0, dtype=np.int64)))
    settings = {
        "dataset": "camvid", "split": "test", "data_root": "data/camvid", "weights": "ema",
        "precision": "bf16", "snapshot": f"logs/{folder.name}/last.pth",
        "inference_mode": "sliding", "crop_size": [1024, 1024], "scales": [1.0], "flip": False,
    }
    scores = {**matrix.summary(names), "images": 6, "arch": flags["arch"],
              "snapshot_sha256": f"{label}{seed}" * 32, "settings": settings}
    (folder / "args.json").write_text(json.dumps(flags))
    (folder / "env.json").write_text(json.dumps(environment))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "scores.json").write_text(json.dumps(scores))
    np.savez_compressed(folder / "per_image.npz", names=np.array([f"frame{i}" for i in range(6)]),
                        matrices=matrices, classes=np.array(names))
    return folder
