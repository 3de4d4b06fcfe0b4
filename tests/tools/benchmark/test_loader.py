from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tools import pack_dataset
from tools.benchmark import __main__ as benchmark
from tools.make_streets import __main__ as make_streets


def test_loading_is_measured_stage_by_stage_in_each_way(tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    root, pack, out = tmp_path / "streets", tmp_path / "pack", tmp_path / "a.json"
    make_streets.main(["--out", str(root), "--train", "4", "--val", "1", "--size", "64x128",
                       "--workers", "1"])
    data = ["--dataset", "streets", "--data_root", str(root)]
    assert pack_dataset.main([*data, "--out", str(pack), "--num_workers", "0"]) == 0
    flags = [*data, "--packed", str(pack), "--crop_size", "64", "--samples", "4", "--bs_mult", "2",
             "--batches", "2", "--num_workers", "0", "--step_ms", "3", "--cutmix", "1"]
    assert benchmark.main(["loader", *flags, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [*found["ms"]] == ["files", "files, color on the device", "pack",
                              "pack, color on the device"]
    assert {"read and decode the image", "read and map the label", "CutMix", "ColorJitter",
            "collate", "whole sample"} <= {*found["ms"]["files"]}
    assert not {"ColorJitter", "GaussianBlur",
                "read and map the label"} & {*found["ms"]["pack, color on the device"]}
    assert all(time > 0 for way in found["ms"].values() for time in way.values())
    assert all(speed["0"] > 0 for speed in found["images_per_second"].values())
    assert all(0 < wait["0"]["3.0"] < 1 for wait in found["waits"].values())
    assert "waits, steps of 3 ms" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux",
                    reason="only Linux tells what memory is a process's own")
def test_a_workers_memory_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_streets.main(["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128",
                       "--workers", "1"])
    flags = ["--dataset", "streets", "--data_root", str(tmp_path), "--crop_size", "64", "--samples",
             "2", "--num_workers", "0", "--batches", "1", "--memory", "400", "--json",
             str(tmp_path / "a.json")]
    assert benchmark.main(["loader", *flags]) == 0
    for amounts in json.loads((tmp_path / "a.json").read_text())["memory_mb"].values():
        assert [*amounts] == ["100 samples", "400 samples"]
        assert amounts["100 samples"] > 1 and amounts["400 samples"] - amounts["100 samples"] < 50
