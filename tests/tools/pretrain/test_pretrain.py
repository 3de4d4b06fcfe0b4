"""Drawn classes are learned, resumed to the same bits, and start train.py."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from network.checkpoints import initial
from network.checkpoints.imagenet import load_imagenet
from network.checkpoints.sources import imagenet_file
from tests.tools.pretrain.conftest import draw
from tools.make_streets import __main__ as make_streets
from tools.pretrain import __main__ as pretrain
from tools.pretrain import classifier

ROOT = Path(train.__file__).parent
FAST = ["--adamw", "--lr", "0.002", "--ema_decay", "0.8", "--min_area", "0.5",
        "--color_jitter", "0.1"]


def metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_drawn_classes_are_learned(
        command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main([*command, *FAST, "--max_epoch", "8", "--eval_every", "7"]) == 0
    validations = metrics(tmp_path / "run", "validation")
    assert [line["step"] for line in validations] == [3, 24]
    # chance is 1/3; with three classes, each is among the five first
    assert validations[-1]["top1"] >= 0.9 and validations[-1]["top5"] == 1
    payload = checkpoint(tmp_path / "dfnetv1.pth")
    assert payload["top1"] == validations[-1]["top1"] and payload["step"] == 24
    assert payload["weights"] == "ema" and payload["backbone"] == "dfnetv1"
    assert payload["classes"] == ["blue_disc", "green_square", "red_triangle"]
    averaged = checkpoint(tmp_path / "run" / "last.pth")["ema"]
    assert all(torch.equal(value, averaged[f"backbone.{key}"])
               for key, value in payload["state_dict"].items())
    told = capsys.readouterr().out
    assert "top-5 100.00 % on 12 images (ema weights)" in told
    assert f"--arch sfnet_dfnetv1 --pretrained {tmp_path / 'dfnetv1.pth'}" in told


def test_an_interrupted_run_ends_with_the_same_bits(
        command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    train_step = pretrain.Pretraining.train_step

    def interrupted(self: pretrain.Pretraining, batch: dict[str, Any], want_norm: bool) -> Any:
        if self.progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(self, batch, want_norm)

    assert pretrain.main([*command, "--exp", "whole"]) == 0
    whole_file = checkpoint(tmp_path / "dfnetv1.pth")
    (tmp_path / "dfnetv1.pth").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Pretraining, "train_step", interrupted)
        assert pretrain.main(command) == 130
    assert not (tmp_path / "dfnetv1.pth").exists()
    assert (f"saved at step 4. Go on with: python -m tools.pretrain --resume {tmp_path / 'run'}"
            in capsys.readouterr().out)
    # a file that another run has written since
    (tmp_path / "dfnetv1.pth").write_bytes(b"another file")
    assert pretrain.main(["--resume", str(tmp_path / "run")]) == 2
    assert "dfnetv1.pth exists, and the backbone would be written" in capsys.readouterr().err
    assert (tmp_path / "dfnetv1.pth").read_bytes() == b"another file"
    (tmp_path / "dfnetv1.pth").unlink()
    assert pretrain.main(["--resume", str(tmp_path / "run")]) == 0

    whole, resumed = (checkpoint(tmp_path / name / "last.pth") for name in ("whole", "run"))
    for part in ("state_dict", "ema"):
        assert all(torch.equal(whole[part][key], resumed[part][key]) for key in whole[part])
    assert whole["mean_iu"] == resumed["mean_iu"]
    losses = [[(line["step"], line["loss"]) for line in metrics(tmp_path / name, "train")]
              for name in ("whole", "run")]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    resumed_file = checkpoint(tmp_path / "dfnetv1.pth")
    assert all(torch.equal(value, resumed_file["state_dict"][key])
               for key, value in whole_file["state_dict"].items())


def test_a_finished_run_that_is_resumed_leaves_the_file_and_writes_a_missing_one(
        command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main([*command, "--max_iters", "1"]) == 0
    path = tmp_path / "dfnetv1.pth"
    written = checkpoint(path)
    path.write_bytes(b"edited")
    resume = ["--resume", str(tmp_path / "run")]
    assert pretrain.main(resume) == 0
    assert f"{path} exists and stays as it is" in capsys.readouterr().out
    assert path.read_bytes() == b"edited"
    assert pretrain.main([*resume, "--out", str(tmp_path / "copy.pth")]) == 0
    copy = checkpoint(tmp_path / "copy.pth")
    assert all(torch.equal(value, copy["state_dict"][key])
               for key, value in written["state_dict"].items())


def test_a_resumed_run_needs_the_same_images(
        command: list[str], shapes: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    data = shutil.copytree(shapes, tmp_path / "data")
    assert pretrain.main([*command, "--data_root", str(data), "--max_iters", "1"]) == 0
    (data / "train" / "blue_disc" / "0.png").unlink()
    assert pretrain.main(["--resume", str(tmp_path / "run")]) == 2
    assert "data has changed since the run in" in capsys.readouterr().err


def test_train_py_starts_from_the_file_by_pretrained_auto(
        command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pretrained_models"
    for module in (classifier, pretrain):
        monkeypatch.setattr(module, "PRETRAINED", folder)
    monkeypatch.setattr(initial, "load_imagenet", partial(load_imagenet, folder=folder))
    without_out = command[:command.index("--out")]
    assert pretrain.main([*without_out, "--arch", "resnet18", "--max_iters", "1"]) == 0
    assert "python train.py --arch sfnet_resnet18 --pretrained auto" in capsys.readouterr().out
    make_streets.main(["--out", str(tmp_path / "streets"), "--train", "2", "--val", "1", "--size",
                       "64x128", "--workers", "1"])
    flags = ("--arch sfnet_resnet18 --pretrained auto --crop_size 64 --max_iters 1 --lr 0 "
             "--val_split none --num_workers 0 --fix_bn --exp scenes")
    assert train.main([*flags.split(), "--data_root", str(tmp_path / "streets"), "--ckpt",
                       str(tmp_path)]) == 0
    file = folder / imagenet_file("resnet18")
    told = capsys.readouterr().out
    assert "2 left out: fc.weight, fc.bias" in told
    assert f"tensors loaded from {file}" in told
    started, trained = checkpoint(tmp_path / "scenes" / "last.pth"), checkpoint(file)
    assert torch.equal(started["state_dict"]["layer0.0.0.weight"],
                       trained["state_dict"]["conv1.0.weight"])
    assert started["mean"] == trained["mean"]


def test_a_trial_keeps_its_file_in_the_folder_of_the_run(
        command: list[str], tmp_path: Path) -> None:
    without_out = command[:command.index("--out")]
    assert pretrain.main([*without_out, "--test_mode", "--dump_augmentation_images"]) == 0
    assert (tmp_path / "run" / "dfnetv1.pth").is_file()
    assert len([*(tmp_path / "run" / "augmented").iterdir()]) == 4
    assert checkpoint(tmp_path / "run" / "last.pth")["step"] == 4


def test_a_damaged_image_stops_the_run_or_is_replaced(
        command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "data", 4, seed=0)
    (tmp_path / "data" / "blue_disc" / "2.png").write_bytes(b"no image")
    flags = [*command, "--data_root", str(tmp_path / "data"), "--max_epoch", "1", "--global_batch",
             "2", "--val_fraction", "0"]
    assert pretrain.main(flags) == 2
    assert "blue_disc/2.png" in capsys.readouterr().err
    assert pretrain.main([*flags, "--exp", "skipping", "--on_bad_sample", "skip"]) == 0
    assert "each replaced by another: 1 (--on_bad_sample skip)" in capsys.readouterr().err
    assert metrics(tmp_path / "skipping", "validation") == []
    assert checkpoint(tmp_path / "dfnetv1.pth")["top1"] is None


@pytest.mark.parametrize(("flags", "message"), [
    (["--data_root", ""], "--data_root is missing"),
    (["--label_smoothing", "1"], "--label_smoothing 1.0 leaves nothing"),
    (["--lr_schedule", "scl-poly"], "--lr_schedule scl-poly restarts where"),
    (["--min_area", "0"], "--min_area 0.0 is out of range"),
    (["--recipe", "ours"], "unknown flag --recipe"),
    (["--evaluateF"], "unknown flag --evaluateF"),
])
def test_invalid_flags_are_refused_before_any_work(
        command: list[str], flags: list[str], message: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        pretrain.parse([*command, *flags])
    assert message in capsys.readouterr().err


def test_a_file_that_exists_is_not_overwritten(
        command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dfnetv1.pth").write_bytes(b"the authors' file")
    with pytest.raises(SystemExit, match="2"):
        pretrain.main(command)
    assert "dfnetv1.pth exists, and the backbone would be written there" in capsys.readouterr().err


def test_missing_data_and_small_data_are_refused_in_one_line(
        command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main([*command, "--data_root", "nowhere"]) == 2
    assert "--data_root nowhere: there is no such folder" in capsys.readouterr().err
    assert pretrain.main([*command, "--global_batch", "64"]) == 2
    assert "24 training images do not fill a batch of 64" in capsys.readouterr().err


def test_every_value_of_the_recipe_is_shown(
        command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sgd = pretrain.parse([*command, "--print_config"])
    told = capsys.readouterr().out
    assert [name for name in pretrain.RECIPE if name not in told] == []
    adamw = pretrain.parse([*command, "--adamw"])
    # 0.1 and 0.001 for 256 images, of which a step has 8
    assert [options.optimizer.lr for options in (sgd, adamw)] == [0.1 / 32, 0.001 / 32]
    given = pretrain.parse([*command, "--lr", "0.5"])
    assert (given.optimizer.lr, given.optimizer.scale_lr) == (0.5, False)


@pytest.mark.slow
def test_two_processes_train_and_count_as_one(command: list[str], tmp_path: Path) -> None:
    assert pretrain.main([*command, "--exp", "one", "--lr", "1e-4"]) == 0
    (tmp_path / "dfnetv1.pth").unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node",
                "2", "-m", "tools.pretrain"]
    subprocess.run([*torchrun, *command, "--exp", "two", "--lr", "1e-4"], check=True, cwd=ROOT)
    one, two = ([line["loss"] for line in metrics(tmp_path / name, "train")]
                for name in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-3)
    first, second = (metrics(tmp_path / name, "validation")[-1] for name in ("one", "two"))
    # 12 images, six on each rank: each counts once
    assert abs(first["top1"] - second["top1"]) < 0.1
    assert 12 * second["top1"] == pytest.approx(round(12 * second["top1"]))
    assert checkpoint(tmp_path / "dfnetv1.pth")["step"] == 6
