from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from utils.evaluation import calibration
from utils.visualization import reliability


def test_a_diagram_is_drawn_with_and_without_errors_or_pixels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` brings it")
    confidence = torch.rand(1, 500, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 500, dtype=torch.uint8)
    wrong = (torch.arange(500) % 3 == 0).to(torch.uint8)[None]
    drawn = []
    for predictions, ignored in ((wrong, 0), (labels, 0), (labels, 255)):
        counts = calibration.count(confidence, predictions, labels + ignored)
        reliability.write(tmp_path / "a.png", calibration.summarize(counts))
        drawn.append(cv2.imread(str(tmp_path / "a.png")))
    assert all(picture.shape[1] == 900 for picture in drawn)
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"--calibration .* pip install '\.\[report\]'"):
        reliability.require_matplotlib("--calibration")
