from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

import network
from tools.benchmark import __main__ as benchmark
from tools.benchmark.train import time_rounds
from tools.make_streets import __main__ as make_streets


def test_training_is_timed_against_a_plain_loop_on_the_same_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_streets.main(["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128",
                       "--workers", "1"])
    capsys.readouterr()
    run = ["--arch", "sfnet_dfnetv1", "--pretrained", "none", "--data_root", str(tmp_path),
           "--crop_size", "64x128", "--ohem", "--fpn_dsn_loss", "--num_workers", "0"]
    out = tmp_path / "a.json"
    assert benchmark.main(["train", "--rounds", "2", "--steps", "1", "--json", str(out), "--",
                           *run]) == 0
    found = json.loads(out.read_text())
    own, plain = (found["rounds"][name] for name in ("train.py", "plain loop"))
    assert len(own) == len(plain) == 2 and min(own + plain) > 0
    ratios = sorted(one / other for one, other in zip(own, plain, strict=True))
    assert found["ratio"] == pytest.approx(sum(ratios) / 2)
    assert "plain loop" in capsys.readouterr().out


def test_two_settings_of_training_are_timed_and_taken_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_streets.main(["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128",
                       "--workers", "1"])
    run = ["--arch", "sfnet_dfnetv1", "--pretrained", "none", "--data_root", str(tmp_path),
           "--crop_size", "64", "--num_workers", "0", "--precision", "fp32"]
    out = tmp_path / "a.json"
    torch.save({"arch": "fpn_dfnetv1", "state_dict":
                network.build("fpn_dfnetv1", 19).state_dict()}, tmp_path / "teacher.pth")
    against = f"--against=--no_channels_last --bs_mult 4 --teacher {tmp_path / 'teacher.pth'}"
    assert benchmark.main(["train", "--rounds", "1", "--steps", "1", against, "--json", str(out),
                           "--", *run]) == 0
    found = json.loads(out.read_text())
    assert set(found["rounds"]) == set(found["step"]) == {"train.py", "against"}
    assert set(found["step"]["train.py"]) == {"data", "prepare", "forward", "loss", "backward",
                                              "update"}
    assert set(found["step"]["against"]) - set(found["step"]["train.py"]) == {"teacher"}
    assert min(found["step"]["against"].values()) > 0
    assert min(found["step"]["train.py"].values()) > 0 and found["peak_memory_gb"] > 0
    assert "backward" in capsys.readouterr().out


def test_a_run_that_train_refuses_is_not_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["train", "--", "--pretrained", "none", "--data_root", "absent"]) == 2
    assert "absent is missing" in capsys.readouterr().err


class LoopAhead:
    """A loop whose workers load `ahead` batches while another loop runs; others take 20 ms."""

    images = 1

    def __init__(self, ahead: int) -> None:
        self.ahead, self.loaded = ahead, 0

    def use_up(self, count: int) -> None:
        for _ in range(count):
            self._take()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._take()
        self.loaded = self.ahead

    def _take(self) -> None:
        if not self.loaded:
            time.sleep(0.02)
        self.loaded = max(0, self.loaded - 1)


def test_batches_loaded_in_advance_are_not_timed() -> None:
    speeds = time_rounds({"a": LoopAhead(4), "b": LoopAhead(4)}, rounds=2, steps=3, loaded=4)
    assert all(5 < speed <= 50 for of_loop in speeds.values() for speed in of_loop)
