from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from tools import pack_dataset
from tools.benchmark import __main__ as benchmark
from tools.benchmark import loader
from tools.make_streets import __main__ as make_streets
from utils.cli import FlagParser


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


# of torch, on a machine with fewer cores
many_workers = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class SlowImages(Dataset[dict[str, Any]]):
    """Takes 20 ms for an image."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, draw: Any) -> dict[str, Any]:
        time.sleep(0.02)
        return {"image": torch.zeros(3, 1, 1), "label": torch.zeros(1, 1), "name": "slow"}


def slow_options(batches: int) -> loader.Options:
    parser = FlagParser()
    loader.add_flags(parser)
    options = loader.Options.from_args(parser.parse_args([]))
    return replace(options, bs_mult=5, batches=batches)


@many_workers
def test_batches_that_were_loaded_in_advance_are_not_timed() -> None:
    data: Any = SlowImages()
    # 4 workers load 50 images a second each; a busy machine delays them
    assert 40 < loader.speed(data, slow_options(batches=4), workers=4) < 300
    assert 10 < loader.speed(data, slow_options(batches=2), workers=0) < 52


@many_workers
def test_batches_that_were_loaded_in_advance_do_not_hide_a_slow_loader() -> None:
    data: Any = SlowImages()
    # a batch comes every 25 ms, so that a step of 2 ms waits for 23 of them
    assert loader.wait(data, slow_options(batches=4), workers=4, step_ms=2) > 0.6
    # and a step of 100 ms never waits
    assert loader.wait(data, slow_options(batches=4), workers=4, step_ms=100) < 0.4


def test_every_worker_has_as_many_timed_batches() -> None:
    assert loader.timed_batches(12, workers=0) == loader.timed_batches(12, workers=1) == 12
    assert loader.timed_batches(12, workers=5) == 15
    # three of each
    assert loader.timed_batches(12, workers=15) == 45
