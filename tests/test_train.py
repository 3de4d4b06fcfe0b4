"""Training on a handful of small street scenes: the run's folder, resuming, interrupts, and every
refusal.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
import train
from network.checkpoints.weights import published_state_dict
from tests.process_groups import wait_for, wait_until_gone
from tools.import_labels import writing
from tools.make_streets import __main__ as make_streets
from utils.training import intervals, run_folder
from utils.training.checkpoint import saved, step_of
from utils.training.recipes import RECIPES

ROOT = Path(train.__file__).parent


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    make_streets.main(
        ["--out", str(root), "--train", "6", "--val", "2", "--size", "64x128", "--workers", "1"]
    )
    return root


@pytest.fixture
def command(scenes: Path, tmp_path: Path) -> list[str]:
    """Six steps in two epochs, float32."""
    return [
        "--arch",
        "sfnet_dfnetv1",
        "--pretrained",
        "none",
        "--data_root",
        str(scenes),
        "--ckpt",
        str(tmp_path),
        "--exp",
        "run",
        "--crop_size",
        "64",
        "--max_epoch",
        "2",
        "--bs_mult",
        "2",
        "--num_workers",
        "0",
        "--precision",
        "fp32",
        "--log_every",
        "1",
    ]


def checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def saved_steps(run: Path) -> list[int]:
    """Returns the steps of a run's checkpoints, newest first."""
    return [step_of(path) for path in saved(run)]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Sends SIGINT to ourselves in the middle of a step, counted from 0."""
    train_step = train.Training.train_step

    def interrupted(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        if self.progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(self, batch, want_norm)

    monkeypatch.setattr(train.Training, "train_step", interrupted)


def test_a_run_leaves_its_folder_as_documented(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*command, "--fpn_dsn_loss", "--ohem", "--ema_decay", "0.9"]) == 0
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "args.json",
        "env.json",
        "train.log",
        "metrics.jsonl",
        "tb",
        "checkpoints",
        "last.pth",
        "best.pth",
    }
    state = checkpoint(run / "last.pth")
    assert set(state) >= {
        "format",
        "arch",
        "num_classes",
        "dataset",
        "classes",
        "state_dict",
        "ema",
        "optimizer",
        "schedule",
        "scaler",
        "sampler",
        "rng",
        "epoch",
        "step",
        "mean_iu",
        "best",
        "args",
    }
    assert (state["step"], state["epoch"], state["num_classes"]) == (6, 2, 19)
    assert [line["step"] for line in metrics(run, "train")] == [1, 2, 3, 4, 5, 6]
    assert set(metrics(run, "train")[0]["terms"]) == {"main", "aux0", "aux1"}
    assert [line["step"] for line in metrics(run, "validation")] == [6]
    assert metrics(run, "validation")[0]["weights"] == "ema"
    assert checkpoint(run / "best.pth")["mean_iu"] == metrics(run, "validation")[0]["mIoU"]
    said = capsys.readouterr().out
    assert f"python eval.py --snapshot {run / 'last.pth'}" in said and "lr 1.00e-02" in said
    assert json.loads((run / "args.json").read_text())["ema_decay"] == 0.9


def test_an_interrupted_run_ends_with_the_same_bits(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = [
        *command,
        "--ema_decay",
        "0.9",
        "--fpn_dsn_loss",
        "--class_uniform_pct",
        "0.5",
        "--class_uniform_tile",
        "32",
        "--cache_dir",
        str(tmp_path / "cache"),
        *("--cutmix", "0.5", "--mosaic", "0.5"),
    ]
    assert train.main([*flags, "--exp", "whole"]) == 0
    assert (
        "class-uniform sampling: 3 of the 6 draws of an epoch (50.0 %)" in capsys.readouterr().out
    )
    assert sum(metrics(tmp_path / "whole", "sampling")[0]["class_uniform_draws"].values()) == 3
    with monkeypatch.context() as patch:
        interrupt_at(patch, step=3)  # in the middle of the second epoch
        assert train.main(flags) == 130
    assert (
        f"saved at step 4. Go on with: python train.py --resume {tmp_path / 'run'}"
        in capsys.readouterr().out
    )
    assert train.main(["--resume", str(tmp_path / "run")]) == 0

    whole, resumed = (checkpoint(tmp_path / name / "last.pth") for name in ("whole", "run"))
    for part in ("state_dict", "ema"):
        assert all(torch.equal(whole[part][key], resumed[part][key]) for key in whole[part])
    momenta = (state["optimizer"]["state"] for state in (whole, resumed))
    assert all(
        torch.equal(one["momentum_buffer"], other["momentum_buffer"])
        for one, other in zip(*(each.values() for each in momenta), strict=True)
    )
    assert whole["mean_iu"] == resumed["mean_iu"]
    losses = [
        [(line["step"], line["loss"]) for line in metrics(tmp_path / name, "train")]
        for name in ("whole", "run")
    ]
    assert losses[0] == losses[1]


def test_a_run_with_extra_data_goes_on_in_the_middle_of_an_epoch(
    command: list[str],
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extra = ["--extra_data", f"{write_pseudo_labels(scenes, tmp_path)}:0.5"]
    flags = [*command, *extra, "--num_workers", "1", "--dump_augmentation_images",
             "--class_uniform_pct", "0.5", "--class_uniform_tile", "32",
             "--cache_dir", str(tmp_path / "cache")]
    assert train.main([*flags, "--exp", "whole"]) == 0
    said = capsys.readouterr().out
    assert ("an epoch draws 8 samples, 6 of them from streets (procedural scenes) train"
            in said)
    assert f"  and 2 from the 4 images of {tmp_path}/pseudo/dataset.yaml train" in said
    assert len(metrics(tmp_path / "whole", "train")) == 8
    assert len([*(tmp_path / "whole/augmented").glob("*.png")]) == 4
    with monkeypatch.context() as patch:
        interrupt_at(patch, step=5)  # in the middle of the second epoch of four steps
        assert train.main(flags) == 130
    moved = (tmp_path / "pseudo").rename(tmp_path / "moved")
    resume = ["--resume", str(tmp_path / "run"), "--extra_data"]
    assert train.main([*resume, f"{moved}/dataset.yaml:0.5"]) == 0
    whole, resumed = (checkpoint(tmp_path / name / "last.pth") for name in ("whole", "run"))
    assert all(torch.equal(weight, resumed["state_dict"][key])
               for key, weight in whole["state_dict"].items())
    assert train.main([*resume, f"{moved}/dataset.yaml:0.75"]) == 2
    assert (f"--extra_data {moved}/dataset.yaml train has the weight 0.75, and "
            f"{moved}/dataset.yaml train had 0.5 when the run in {tmp_path / 'run'} began"
            ) in capsys.readouterr().err


def write_pseudo_labels(scenes: Path, folder: Path) -> Path:
    """Four images of the scenes, labeled as road and sky, in a folder of pseudo-labels."""
    spec = datasets.spec("streets")
    for kind in ("images", "labels"):
        (folder / "pseudo" / kind / "train").mkdir(parents=True)
    for i, image in enumerate(sorted(scenes.glob("leftImg8bit/train/*/*.png"))[:4]):
        (folder / f"pseudo/images/train/{i}.png").symlink_to(image)
        label = np.zeros((64, 128), np.uint8)
        label[:32] = 10
        cv2.imwrite(str(folder / f"pseudo/labels/train/{i}.png"), label)
    path = folder / "pseudo/dataset.yaml"
    path.write_text(writing.describe("pseudo", spec.classes, {"train": None}, (64, 64), "hand"))
    return path


def test_an_interrupted_validation_is_made_up_for(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, step=5)  # noticed at the first image of the last validation
        assert train.main(command) == 130
    assert not metrics(tmp_path / "run", "validation")
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert [line["step"] for line in metrics(tmp_path / "run", "validation")] == [6]
    assert checkpoint(tmp_path / "run" / "best.pth")["validated"] == 6


def test_a_folder_without_a_checkpoint_starts_at_step_0_and_says_so(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*command, "--max_iters", "1", "--val_split", "none"]) == 0
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert "starting at step 0 from random weights" in capsys.readouterr().out


@pytest.mark.parametrize("is_new", [False, True])
def test_a_folder_in_which_another_process_trains_is_left_alone(
    is_new: bool, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "args.json").write_text(json.dumps(train.parse(command).flags))
    flags = command if is_new else ["--resume", str(folder)]
    with run_folder.claimed(folder):
        assert train.main(flags) == 2
    assert f"another process trains in {folder}: wait" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["args.json"]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(command: list[str], tmp_path: Path) -> None:
    flags = [*command, "--val_split", "none", "--checkpoint_every", "1", "--max_epoch", "10"]
    program = [sys.executable, str(ROOT / "train.py")]
    assert subprocess.run([*program, *flags, "--exp", "whole"], check=False).returncode == 0
    process = subprocess.Popen([*program, *flags])
    while not (tmp_path / "run" / "checkpoints" / "step_4.pth").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (
        subprocess.run([*program, "--resume", str(tmp_path / "run")], check=False).returncode == 0
    )
    whole, resumed = (
        checkpoint(tmp_path / name / "last.pth")["state_dict"] for name in ("whole", "run")
    )
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert [line["step"] for line in metrics(tmp_path / "run", "train")] == list(range(1, 31))


def test_a_crop_larger_than_the_image_is_padded(command: list[str]) -> None:
    assert (
        train.main([*command, "--crop_size", "96x160", "--max_iters", "1", "--val_split", "none"])
        == 0
    )


def test_test_mode_runs_everything_briefly(command: list[str], tmp_path: Path) -> None:
    assert train.main([*command, "--max_epoch", "300", "--test_mode"]) == 0
    assert checkpoint(tmp_path / "run" / "last.pth")["step"] == 4
    assert len(metrics(tmp_path / "run", "validation")) == 1


def test_fine_tuning_starts_from_a_snapshot_with_a_new_classifier(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = network.build("sfnet_dfnetv1", 11)
    torch.save(network.checkpoints.weights.published_state_dict(net), tmp_path / "camvid.pth")
    flags = [
        *command,
        "--snapshot",
        str(tmp_path / "camvid.pth"),
        "--max_iters",
        "1",
        "--val_split",
        "none",
    ]
    assert train.main(flags) == 2
    assert "--reset_classifier" in capsys.readouterr().err
    assert (
        train.main([*flags, "--reset_classifier", "--init_aux", "--fpn_dsn_loss", "--lr", "0"]) == 0
    )
    state = checkpoint(tmp_path / "run" / "last.pth")["state_dict"]
    assert torch.equal(
        state["backbone.stage1.0.weight"], net.state_dict()["backbone.stage1.0.weight"]
    )


def test_print_config_tells_each_value_and_its_origin(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*command, "--print_config"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["bs_mult"] == ["2", "command", "line"] and rows["momentum"] == ["0.9", "default"]
    assert not (tmp_path / "run").exists()


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what a refused command says: one line on stderr, status 2."""
    try:
        status = train.main(argv)
    except SystemExit as stopped:
        status = stopped.code
    said = capsys.readouterr().err
    assert status == 2 and "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--arch", "sfnet_resnet81"],
            "unknown architecture 'sfnet_resnet81'; did you mean sfnet_resnet18",
        ),
        (["--dataset", "streeets"], "unknown dataset 'streeets', did you mean 'streets'"),
        (["--pretrained", "auto"], "dfnetv1.pth: the file must hold the state dict of dfnetv1"),
        (["--snapshot", "absent.pth"], "no weights at absent.pth"),
        (["--data_root", "absent"], "absent is missing"),
        (["--train_split", "trane"], "trane"),
        (["--local_rank", "0"], "--local_rank is retired: use torchrun"),
        (["--max_epochs", "3"], "unknown flag --max_epochs, did you mean '--max_epoch'"),
        (["--bs_mult", "64"], "lower --bs_mult to 6"),
        (["--bs_mult", "1"], "cannot train on a batch of one image"),
        (
            ["--bs_mult", "1", "--crop_size", "32", "--arch", "dfsegnet_dfnetv1"],
            "sees one map of 1x1 for a crop of 32x32: a single value per channel has no variance. "
            "Use larger crops (--crop_size 64x64), 2 images per process (--bs_mult 2)",
        ),
        (["--precision", "fp16"], "--precision fp16 needs a CUDA GPU"),
        (
            ["--checkpoint_every", "often"],
            "--checkpoint_every often: give steps (200) or minutes (10m)",
        ),
        (
            ["--class_uniform_pct", "1.5"],
            "argument --class_uniform_pct: '1.5' is not a number from 0 to 1",
        ),
        (
            ["--class_uniform_pct", "half"],
            "argument --class_uniform_pct: 'half' is not a number from 0 to 1",
        ),
        (
            ["--class_uniform_tile", "0"],
            "argument --class_uniform_tile: '0' is not a whole number of at least 1",
        ),
        (
            ["--max_cu_epoch", "-1"],
            "argument --max_cu_epoch: '-1' is not a whole number of at least 1",
        ),
        (
            ["--coarse_boost_classes", "rider"],
            "argument --coarse_boost_classes: 'rider' is not a list of whole numbers",
        ),
        (["--coarse_boost_classes", "14"], "--coarse_boost_classes adds to class-uniform draws"),
        (
            ["--class_uniform_pct", "0.5", "--coarse_boost_classes", "18,19"],
            "--coarse_boost_classes 19: ",
        ),
        (["--ema_decay", "2"], "--ema_decay is a fraction in [0, 1), not 2.0"),
        (
            ["--boundary_weight", "1", "--boundary_width", "10"],
            "--boundary_width 10: edges so wide cover most of the crops of 64x64, and take long: "
            "give at most 8",
        ),
        (["--resume", "absent"], "no run is there"),
    ],
)
def test_a_mistake_is_refused_by_name(
    command: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal([*command, *flags], capsys)


def test_an_existing_run_is_not_overwritten(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*command, "--max_iters", "1", "--val_split", "none"]) == 0
    before = (tmp_path / "run" / "last.pth").read_bytes()
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    # before it reads its data or weights
    assert f"already holds a run: go on with it by --resume {tmp_path / 'run'}" in refusal(
        [*command, "--data_root", "absent", "--snapshot", "absent.pth"], capsys
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == files
    assert f"already holds a run: go on with it by --resume {tmp_path / 'run'}" in refusal(
        command, capsys
    )
    assert (tmp_path / "run" / "last.pth").read_bytes() == before
    said = refusal(["--resume", str(tmp_path / "run"), "--lr", "0.5"], capsys)
    assert "--lr 0.5 would change the run" in said and "0.01" in said


def test_a_truncated_image_names_its_file(
    command: list[str], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scenes"
    make_streets.main(
        ["--out", str(copy), "--train", "2", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    broken = min(copy.glob("leftImg8bit/train/*/*.png"))
    broken.write_bytes(broken.read_bytes()[:-200])
    assert broken.name in refusal([*command, "--data_root", str(copy)], capsys)


def test_an_unknown_label_id_names_file_and_id(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scenes"
    make_streets.main(
        ["--out", str(copy), "--train", "2", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    strange = min(copy.glob("gtFine/train/*/*.png"))
    label = cv2.imread(str(strange), cv2.IMREAD_UNCHANGED)
    label[:8] = 77
    cv2.imwrite(str(strange), label)
    said = refusal(
        [*command, "--data_root", str(copy), "--scale_min", "1", "--scale_max", "1"], capsys
    )
    assert strange.name in said and "77" in said


def test_a_loss_that_is_not_finite_stops_the_run(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal([*command, "--lr", "1e30"], capsys)
    assert "the loss is" in said and "lower --lr" in said


def test_a_checkpoint_by_the_clock_is_written_once_though_its_request_is_answered_late(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = train.Training.train_step
    clock = SimpleNamespace(monotonic=lambda: 25.0 * clock.steps, steps=0)

    def timed(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        clock.steps += 1
        return train_step(self, batch, want_norm)

    class Agreed(train.Interrupts):
        """As with several processes: `synchronize` answers the request of the step before."""

        def __enter__(self) -> train.Interrupts:
            self.agreed = True
            return super().__enter__()

    monkeypatch.setattr(train.Training, "train_step", timed)
    monkeypatch.setattr(train, "Interrupts", Agreed)
    monkeypatch.setattr(intervals, "time", clock)
    flags = ["--max_epoch", "4", "--val_split", "none", "--checkpoint_every", "1m", "--keep", "9"]
    assert train.main([*command, *flags]) == 0
    # requested 75 s after the start, in step 3, and saved after step 5, at 125 s; then requested in
    # step 8, at 200 s, and saved after step 10; the last step is the twelfth
    assert saved_steps(tmp_path / "run") == [12, 10, 5]


def test_the_logged_rate_is_that_of_the_flag_whatever_the_factors(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--max_iters", "2", "--val_split", "none", "--lr", "0.02", "--poly_exp", "1",
             "--head_lr_factor", "2", "--backbone_lr_factor", "0.5"]
    assert train.main([*command, *flags]) == 0
    assert [line["lr"] for line in metrics(tmp_path / "run", "train")] == [0.02, 0.01]
    assert " lr 2.00e-02 " in capsys.readouterr().out


def test_what_the_network_sees_is_written_as_pictures(command: list[str], tmp_path: Path) -> None:
    flags = [
        *command,
        "--augment_on",
        "device",
        *("--cutmix", "0.5", "--randaugment", "2:9"),
        "--dump_augmentation_images",
        "--val_split",
        "none",
    ]
    assert train.main([*flags, "--max_iters", "2"]) == 0
    pictures = sorted((tmp_path / "run" / "augmented").iterdir())
    assert [path.name for path in pictures] == ["step_0.png", "step_1.png"]
    assert cv2.imread(str(pictures[0])).std() > 20


def test_blur_that_the_device_cannot_do_is_refused_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse(["--augment_on", "device", "--bblur"])
    assert "--bblur blurs in the loader only" in capsys.readouterr().err


def spoil_loss(monkeypatch: pytest.MonkeyPatch, *, step: int) -> None:
    """Makes the loss of a step, counted from 1, NaN."""
    train_step = train.Training.train_step

    def spoilt(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        result = train_step(self, batch, want_norm)
        terms = {"main": result.terms["main"] * float("nan")}
        return result._replace(terms=terms) if self.progress.step + 1 == step else result

    monkeypatch.setattr(train.Training, "train_step", spoilt)


def test_a_rewound_run_leaves_the_bad_batch_out(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil_loss(monkeypatch, step=5)
    flags = [*command, "--checkpoint_every", "3", "--val_split", "none"]
    said = refusal([*flags, "--exp", "stopped"], capsys)
    assert "in step 5" in said and "on images streets_" in said and "step_3.pth" in said
    assert train.main([*flags, "--on_nan", "rewind"]) == 0
    assert "Going back to step 3; step 5 will be left out" in capsys.readouterr().err
    assert [line["step"] for line in metrics(tmp_path / "run", "train")] == [1, 2, 3, 4, 6]
    assert checkpoint(tmp_path / "run" / "last.pth")["left_out"] == [5]


@pytest.mark.parametrize("bad_step", [3, 6])
def test_a_step_that_a_rewind_leaves_out_ends_its_epoch_as_others_do(
    bad_step: int, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has three steps; step 6 is the last one of the run."""
    spoil_loss(monkeypatch, step=bad_step)
    flags = ["--checkpoint_every", "2", "--eval_epoch", "1", "--eval_every", "1", "--keep", "9",
             "--on_nan", "rewind"]
    assert train.main([*command, *flags]) == 0
    run = tmp_path / "run"
    assert [line["step"] for line in metrics(run, "validation")] == [3, 6]
    assert saved_steps(run) == [6, 4, 3, 2]
    assert checkpoint(run / "last.pth")["left_out"] == [bad_step]
    trained = [step for step in range(1, 7) if step != bad_step]
    assert [line["step"] for line in metrics(run, "train")] == trained


def test_a_recipe_sets_defaults_and_the_command_line_wins(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *command[: command.index("--bs_mult")],
        "--recipe",
        "sfsegnets",
        "--weight_decay",
        "0.5",
        "--print_config",
    ]
    assert train.main(words) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["poly_exp"] == ["1.0", "recipe", "sfsegnets"] and rows["fpn_dsn_loss"][0] == "True"
    assert rows["ohem_min_kept"][0] == "100000" and rows["bs_mult"][0] == "16"
    assert rows["weight_decay"] == ["0.5", "command", "line"]


@pytest.mark.parametrize(
    ("arch", "kept"),
    [
        ("sfnet_lite_resnet18", 100_000),
        ("sfnet_resnet18", 10_000),
        ("sfnet_timm:tf_efficientnet_lite0", 10_000),
    ],
)
def test_the_release_keeps_more_hard_pixels_in_sfnet_lite(arch: str, kept: int) -> None:
    assert (
        train.parse(
            ["--recipe", "sfsegnets", "--arch", arch, "--dataset", "cityscapes"]
        ).loss.ohem_min_kept
        == kept
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_names_flags_that_exist(recipe: str) -> None:
    options = train.parse(
        ["--recipe", recipe, "--arch", "sfnet_resnet18", "--dataset", "cityscapes"]
    )
    assert set(RECIPES[recipe]) <= set(options.flags)
    assert options.transforms.crop_size == (1024, 1024)
    assert options.batching.sizes.global_batch == {
        "camvid": 4, "imagenet": 4, "modern": 4, "streets": 8
    }.get(recipe, 16)


def test_a_worker_that_torchrun_starts_again_goes_on(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    assert train.main([*command, "--max_iters", "1", "--val_split", "none"]) == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train.main([*command, "--max_iters", "1", "--val_split", "none"]) == 0
    assert "going on from step 1" in capsys.readouterr().out
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "b")  # another torchrun, whose run this is not
    assert "already holds a run" in refusal(
        [*command, "--max_iters", "1", "--val_split", "none"], capsys
    )


def test_a_folder_that_cannot_be_written_is_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refusal([*command, "--ckpt", str(tmp_path / "file")], capsys)
    assert "cannot be written" in said and "--ckpt" in said


def test_raw_and_averaged_weights_are_scored_on_a_few_images_and_shown(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = [
        *command,
        "--ema_decay",
        "0.9",
        "--eval_weights",
        "both",
        "--eval_images",
        "1",
        "--max_iters",
        "2",
    ]
    assert train.main(flags) == 0
    run = tmp_path / "run"
    line = metrics(run, "validation")[0]
    assert set(line["mIoU_of"]) == {"raw", "ema"} and line["mIoU"] == max(line["mIoU_of"].values())
    assert "on 1 of 2 images of val" in capsys.readouterr().out
    board = EventAccumulator(str(run / "tb")).Reload()
    tags = board.Tags()
    assert {
        "train/loss",
        "train/lr",
        "train/gradient_norm",
        "train/waiting_for_data",
        "train/memory_gb",
        "train/images_per_second",
        "train/terms/main",
        "validation/mIoU",
    } <= set(tags["scalars"])
    assert "validation/per_class_IoU/road" in tags["scalars"]
    shown = [tag for tag in tags["images"] if tag.startswith("validation/streets_")]
    assert len(shown) == 1 and board.Images(shown[0])[0].width > 3 * 128
    assert "needs averaged weights" in refusal(
        [*command, "--exp", "other", "--eval_weights", "ema"], capsys
    )


def test_an_estimate_of_memory_changes_nothing(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*command, "--max_iters", "2", "--val_split", "none", "--log_every", "100"]
    assert train.main(flags) == 0
    assert train.main([*flags, "--exp", "estimated", "--memory_estimate"]) == 0
    found = re.search(r"a step brings this process to about (\d+\.\d+) GB", capsys.readouterr().out)
    assert found and 0.1 < float(found[1]) < 10
    plain, estimated = (
        checkpoint(tmp_path / name / "last.pth")["state_dict"] for name in ("run", "estimated")
    )
    assert all(torch.equal(plain[key], estimated[key]) for key in plain)


def test_fine_tuning_may_take_the_momentum_along_but_no_rate(
    command: list[str], tmp_path: Path
) -> None:
    assert train.main([*command, "--max_iters", "2"]) == 0
    before = checkpoint(tmp_path / "run" / "last.pth")["optimizer"]
    args = train.parse(
        [
            *command,
            "--exp",
            "again",
            "--snapshot",
            str(tmp_path / "run" / "last.pth"),
            "--restore_optimizer",
            "--lr",
            "0.5",
        ]
    )
    with closing(train.Training(args)) as run:
        after = run.optimizer.state_dict()
    assert after["param_groups"][0]["lr"] == 0.5
    assert torch.equal(after["state"][0]["momentum_buffer"], before["state"][0]["momentum_buffer"])


@pytest.mark.parametrize(("flags", "taken"), [([], "ema"), (["--restore_optimizer"], "state_dict")])
def test_fine_tuning_starts_from_averaged_weights_but_momentum_belongs_to_the_raw(
    command: list[str], tmp_path: Path, flags: list[str], taken: str
) -> None:
    assert (
        train.main([*command, "--ema_decay", "0.9", "--max_iters", "2", "--val_split", "none"]) == 0
    )
    last = tmp_path / "run" / "last.pth"
    state = checkpoint(last)
    with closing(
        train.Training(train.parse([*command, "--exp", "again", "--snapshot", str(last), *flags]))
    ) as run:
        started = published_state_dict(run.net)
    other = {"ema", "state_dict"} - {taken}
    assert all(torch.equal(started[key], tensor) for key, tensor in state[taken].items())
    assert not all(torch.equal(started[key], tensor) for key, tensor in state[other.pop()].items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("optimizer"), "holds no optimizer"),
        (lambda state: state["optimizer"]["param_groups"].pop(), "of another kind"),
        # as after --reset_classifier with another number of classes
        (
            lambda state: state["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(7)),
            "other weights",
        ),
    ],
)
def test_an_optimizer_that_does_not_fit_is_refused(
    command: list[str],
    tmp_path: Path,
    message: str,
    spoil: Callable[[dict[str, Any]], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.main([*command, "--max_iters", "1"]) == 0
    state = checkpoint(tmp_path / "run" / "last.pth")
    spoil(state)
    torch.save(state, tmp_path / "spoilt.pth")
    again = [
        *command,
        "--exp",
        "again",
        "--snapshot",
        str(tmp_path / "spoilt.pth"),
        "--restore_optimizer",
    ]
    assert train.main(again) == 2
    assert message in capsys.readouterr().err


def test_an_optimizer_to_restore_needs_a_snapshot(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.parse([*command, "--restore_optimizer"])
    assert "copies the optimizer of --snapshot" in capsys.readouterr().err


def test_validation_scores_outlines_and_parses_images_together(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(
        train.run_log.RunLog, "add_images", lambda log, pictures, step: shown.append(pictures)
    )
    flags = ["--max_iters", "1", "--evaluateF", "--eval_thresholds", "0.02,0.05"]
    assert train.main([*command, *flags]) == 0
    assert train.main([*command, *flags, "--exp", "two", "--bs_mult_val", "2"]) == 0
    one, two = (metrics(tmp_path / name, "validation")[0] for name in ("run", "two"))
    assert list(one["boundary_F"]) == ["0.02", "0.05"]
    assert 0 < one["boundary_F"]["0.02"] <= one["boundary_F"]["0.05"] <= 1
    assert (one["boundary_F"], one["mIoU"]) == (two["boundary_F"], two["mIoU"])
    alone, together = shown
    assert len(alone) == 2 and alone.keys() == together.keys()
    for name, picture in alone.items():  # each image has its own flow fields
        assert np.abs(picture.astype(int) - together[name]).mean() < 0.5


def test_fp16_is_a_precision() -> None:
    assert train.build_parser().parse_args(["--fp16"]).precision == "fp16"


def test_one_command_begins_a_run_and_goes_on_with_it(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*command, "--max_iters", "2", "--val_split", "none", "--resume", "auto"]
    assert train.main(flags) == 0
    assert "starting at step 0" in capsys.readouterr().out
    run = tmp_path / "run"
    (run / "last.pth").unlink()
    (run / "last.pth").write_bytes(b"of an earlier step")
    assert train.main(flags) == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert checkpoint(run / "last.pth")["step"] == 2
    assert json.loads((run / "args.json").read_text())["resume"] is None
    assert "--lr 0.5 would change the run" in refusal([*flags, "--lr", "0.5"], capsys)
    assert train.main(["--resume", str(run / "last.pth")]) == 0
    message = refusal(["--resume", str(run), "--max_iters", "9"], capsys)
    assert "--snapshot" in message and "--restore_optimizer" in message


def test_a_run_that_failed_before_its_first_step_does_not_block_its_name(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = [*command, "--max_iters", "1", "--val_split", "none"]

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("the first step fails")

    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "train_step", fails)
        assert "the first step fails" in refusal([*flags, "--lr", "0.5"], capsys)
    assert (tmp_path / "run" / "args.json").exists()
    assert train.main(flags) == 0
    assert "ended before its first step: it is begun anew" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "args.json").read_text())["lr"] == 0.01


def test_the_best_score_of_a_run_is_a_finite_one(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scenes"
    make_streets.main(
        ["--out", str(copy), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    labels = list(copy.glob("gtFine/val/*/*.png"))
    originals = [path.read_bytes() for path in labels]
    for path in labels:
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.zeros_like(label))  # an ignored id of Cityscapes
    flags = [*command, "--data_root", str(copy), "--eval_epoch", "1", "--eval_every", "1"]
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, step=2)
        assert train.main(flags) == 130
    run = tmp_path / "run"
    assert "none of 1 images of val has a labeled pixel" in capsys.readouterr().err
    assert metrics(run, "validation")[0]["mIoU"] is None and not (run / "best.pth").exists()
    for path, original in zip(labels, originals, strict=True):
        path.write_bytes(original)
    assert train.main(["--resume", str(run)]) == 0
    assert checkpoint(run / "best.pth")["mean_iu"] == checkpoint(run / "last.pth")["best"] > 0
    assert "NaN" not in (run / "metrics.jsonl").read_text()


def test_print_config_calls_derived_values_derived_and_refuses_what_a_run_refuses(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*command, "--print_config"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["global_batch"].endswith("derived from the others")
    assert rows["joint_edgeseg_loss"].endswith("derived from the others")
    for flags in (["--precision", "fp16"], ["--fam_levels", "7"]):
        message = refusal([*command, *flags, "--print_config"], capsys)
        assert flags[0] in message
    tiny = ["--crop_size", "8", "--bs_mult", "1", "--fix_bn", "--boundary_weight", "1",
            "--boundary_width", "2"]
    assert "the batch normalization training_heads.boundary." in refusal(
        [*command, *tiny, "--print_config"], capsys)
    assert train.main([*command, "--max_iters", "1", "--val_split", "none"]) == 0
    assert "already holds a run" in refusal([*command, "--print_config"], capsys)


def test_compiling_without_a_compiler_is_refused_before_any_work(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    message = refusal([*command, "--compile"], capsys)
    assert "--compile needs a C++ compiler" in message and message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_closed_terminal_saves_a_checkpoint_as_sigterm_does(
    command: list[str], tmp_path: Path
) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo terminals")
    flags = [*command, "--val_split", "none", "--max_epoch", "300"]
    pid, terminal = pty.fork()
    if pid == 0:
        # the tests themselves may run under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, str(ROOT / "train.py"), *flags])
    run = tmp_path / "run"
    while not (run / "train.log").exists() or "step 2/" not in (run / "train.log").read_text():
        # the process waits if nobody reads what it draws
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    step = checkpoint(run / "last.pth")["step"]
    assert 2 <= step < 900
    assert f"interrupted by SIGHUP: saved at step {step}" in (run / "train.log").read_text()


def test_sigterm_to_the_process_group_saves_a_checkpoint_in_spite_of_workers(
    command: list[str], tmp_path: Path
) -> None:
    flags = [*command, "--val_split", "none", "--num_workers", "2"]
    program = [sys.executable, str(ROOT / "train.py")]
    process = subprocess.Popen([*program, *flags, "--max_epoch", "300"], start_new_session=True)
    run = tmp_path / "run"
    wait_for("step 2/", run / "train.log", process)
    # as `timeout` and schedulers do
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    step = checkpoint(run / "last.pth")["step"]
    assert f"interrupted by SIGTERM: saved at step {step}" in (run / "train.log").read_text()
    wait_until_gone(process.pid)
    resumed = subprocess.Popen([*program, "--resume", str(run)], start_new_session=True)
    wait_for(f"step {step + 1}/", run / "train.log", resumed)
    os.killpg(resumed.pid, signal.SIGTERM)
    assert resumed.wait(timeout=60) == 128 + signal.SIGTERM
    assert checkpoint(run / "last.pth")["step"] > step
