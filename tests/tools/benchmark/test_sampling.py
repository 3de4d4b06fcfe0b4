from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.benchmark import __main__ as benchmark


def test_sampling_measures_the_shares_of_real_crops(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "sampling.json"
    flags = ["--size", "64x128", "--maps", "3", "--crop_size", "32", "--draws", "12", "--entries",
             "7", "--passes", "4", "--class_uniform_pct", "0.7", "--num_workers", "0", "--json",
             str(found)]
    assert benchmark.main(["sampling", *flags]) == 0
    said = capsys.readouterr().out
    assert ("labels of 64x128, tiles of 1024" in said
            and "with 7 labels" in said
            and "labels/s with 0 worker(s)" in said)
    shares = json.loads(found.read_text())
    for kind in ("without", "with"):
        assert sum(shares[kind]["pixels"]) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in shares[kind]["crops"])
    # 0.7 of three images
    assert sum(shares["draws"].values()) == 2
    assert shares["times"]["points_ms"] > 0 and shares["times"]["second_start_s"] < 1


def test_sampling_of_an_absent_folder_is_refused(tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["sampling", "--dataset", "camvid", "--data_root",
                           str(tmp_path / "absent")]) == 2
    assert "absent is missing. Point --data_root at" in capsys.readouterr().err
