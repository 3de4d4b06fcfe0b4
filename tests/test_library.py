"""Runs the programs of docs/library.md as they are, except for the paths."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tests.onnx_here import need_onnx
from tools.export import __main__ as export
from tools.make_streets.writing import make_streets
from tools.weights import __main__ as weights

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs/library.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
LIBRARY, TRAIN, FOLDER, PICTURES, HUB, STRANGER = PROGRAMS
SPEC = datasets.spec("camvid")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a snapshot and a picture, and the working directory of the programs."""
    torch.manual_seed(0)
    (tmp_path / "logs/NAME").mkdir(parents=True)
    state = published_state_dict(network.build("sfnet_dfnetv1", SPEC.num_classes))
    torch.save(
        {
            "arch": "sfnet_dfnetv1",
            "dataset": "camvid",
            "classes": list(SPEC.names),
            "state_dict": state,
        },
        tmp_path / "logs/NAME/best.pth",
    )
    cv2.imwrite(
        str(tmp_path / "picture.png"),
        np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def colors(path: Path) -> set[tuple[int, ...]]:
    return {tuple(color) for color in cv2.imread(str(path))[..., ::-1].reshape(-1, 3).tolist()}


def test_ten_lines_predict_an_image(here: Path) -> None:
    lines = [
        line for line in LIBRARY.splitlines() if line and not line.startswith(("import", "from"))
    ]
    assert len(lines) <= 10
    exec(LIBRARY, {})
    assert cv2.imread("mask.png").shape == (90, 130, 3)
    assert colors(here / "mask.png") <= {tuple(color) for color in SPEC.palette.tolist()}


def assert_short(program: str) -> None:
    lines = [line for line in program.splitlines() if not line.startswith(("import", "from", " "))]
    assert len([line for line in lines if line]) <= 10


def test_ten_lines_train(here: Path) -> None:
    make_streets(here / "data/streets", {"train": 2}, (64, 96), 0, 1)
    namespace: dict[str, Any] = {}
    exec(TRAIN, namespace)
    assert namespace["terms"]["main"].isfinite()
    assert_short(TRAIN)


def test_ten_lines_save_and_load(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.main(["pack", "--snapshot", "logs/NAME/best.pth", "--out", "model"]) == 0
    exec(FOLDER, {})
    assert "sfnet_dfnetv1 ('Sky'," in capsys.readouterr().out
    assert network.ModelConfig.read("copy") == network.ModelConfig.read("model")
    assert_short(FOLDER)


def test_ten_lines_show_flow_and_confidence(here: Path) -> None:
    exec(PICTURES, {})
    for name in ("flow.png", "confidence.png"):
        assert cv2.imread(name).shape[1] > 2 * 130
    assert_short(PICTURES)


def test_torch_hub_needs_no_path(here: Path) -> None:
    program = HUB.replace("path/to/this/checkout", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (
        "torch.Size([1, 11, 360, 480]) torch.Size([1, 11, 23, 30]) ['main', 'aux0', 'aux1', 'aux2']"
        in done.stdout
    )


def test_a_stranger_reads_the_onnx_file(here: Path) -> None:
    need_onnx()
    assert (
        export.main(
            [
                "--snapshot",
                "logs/NAME/best.pth",
                "--format",
                "onnx",
                "--out",
                "net.onnx",
                "--dynamic",
                "--size",
                "64x96",
            ]
        )
        == 0
    )
    assert len([line for line in STRANGER.splitlines() if line]) <= 10
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    exec(LIBRARY.replace('"mask.png"', '"own.png"'), {})
    same = (cv2.imread("mask.png") == cv2.imread("own.png")).all(axis=2).mean()
    assert same >= 0.999
    assert any(name in done.stdout for name in SPEC.names)
