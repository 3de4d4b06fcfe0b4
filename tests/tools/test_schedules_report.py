"""The picture of the schedules shows what the optimiser does."""
from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tools import report
from tools.reports import schedules


def test_the_drawn_rates_are_an_optimisers() -> None:
    found = schedules.rates(lr_schedule="poly", poly_exp=1.0)
    steps = schedules.EPOCHS * schedules.STEPS_PER_EPOCH
    assert found == pytest.approx([1 - step / steps for step in range(steps)])


def test_the_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "made" / "schedules.png"
    assert report.main(["--schedules", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out and cv2.imread(str(out)).std() > 5
