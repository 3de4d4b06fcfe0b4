"""The time of pseudo-labels beside that of the predictor."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.benchmark import __main__ as benchmark
from tools.benchmark.pseudo_label import PARTS, format_table, totals


def test_every_part_is_timed(snapshot: Path, camvid_root: Path, tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["pseudo_label", "--snapshot", str(snapshot), "--data_root", str(camvid_root),
             "--split", "train", "--json", str(tmp_path / "found.json"), "--images"]
    assert benchmark.main([*flags, "4"]) == 0
    seconds = json.loads((tmp_path / "found.json").read_text())
    assert list(seconds) == list(PARTS) and all(value > 0 for value in seconds.values())
    assert "times the predictor" in capsys.readouterr().out
    assert benchmark.main([*flags, "5"]) == 2
    assert "has 6 images, and 2 are not timed: give at most 4" in capsys.readouterr().err


def test_the_totals_are_sums_of_what_a_run_does() -> None:
    seconds = {"labels": 0.1, "confidence": 0.2, "reading": 0.01, "threshold": 0.02,
               "keep_share": 0.03, "finishing": 0.04}
    assert totals(seconds) == pytest.approx({"threshold": 0.23, "keep_share": 0.28})
    lines = format_table(seconds).splitlines()
    assert lines[0].split()[:2] == ["100.0", "ms"]
    assert "--threshold: 1.15 times the predictor with probabilities, 2.30 times" in lines[-2]
