"""A teacher gives its outputs without being touched; a run with one resumes exactly."""
from __future__ import annotations

import json
import os
import signal
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

import network
import train
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import load, published_state_dict
from tools.make_streets import __main__ as make_streets
from utils.precision import PrecisionOptions
from utils.training.teacher import Stopwatch, Teacher, set_checksum

CPU = torch.device("cpu")
HALF = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
OWN = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def trained(normalization: Any = HALF) -> network.model.SceneParser:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 3).eval()
    net.normalization = normalization
    return net


def teacher(net: Any, **options: Any) -> Teacher:
    keywords: dict[str, Any] = {"device": CPU, "precision": "fp32", "options": PrecisionOptions()}
    return Teacher(net, HALF, **{**keywords, **options})


def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def normalized(pixels: torch.Tensor, normalization: Any) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalization)
    return (pixels - mean) / std


@pytest.mark.parametrize("own", [HALF, OWN])
def test_a_teacher_sees_the_images_in_its_own_normalization(own: Any) -> None:
    net = trained(own)
    expected = net(normalized(images(), own), upsample=False)["main"]
    outputs = teacher(net)(normalized(images(), HALF))
    assert set(outputs) == {"teacher_main"}
    assert torch.allclose(outputs["teacher_main"], expected, atol=1e-4)


def test_a_teacher_is_not_touched_and_has_no_gradient() -> None:
    net = trained().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    taught = teacher(net, with_feature=True)
    outputs = taught(images())
    assert outputs["teacher_feature"].shape[1] == taught.feature_channels
    assert not net.training and not any(value.requires_grad for value in net.parameters())
    assert all(value.is_inference() for value in outputs.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_teacher_runs_in_the_precision_of_the_run() -> None:
    assert teacher(trained(), precision="bf16")(images())["teacher_main"].dtype == torch.bfloat16


def test_the_time_of_a_teacher_is_added_up_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 1.5, 3.0, 3.25])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    stopwatch = Stopwatch(CPU)
    for _ in range(2):
        with stopwatch.running():
            pass
    assert (stopwatch.seconds(), stopwatch.seconds()) == (0.75, 0.0)


def flags(**changes: Any) -> Namespace:
    values = {"teacher": None, "snapshot": None, "resume": None}
    return Namespace(**{**values, **changes})


def test_a_run_knows_its_teacher_by_the_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"a")
    (tmp_path / "b.pth").write_bytes(b"b")
    args = flags(teacher=str(tmp_path / "a.pth"))
    set_checksum(args, Path)
    # sha256sum of "a"
    assert args.teacher_sha256.startswith("ca978112ca1bbdcafac231b39a23dc4d")
    resumed = {"resume": "logs/run", "teacher_sha256": args.teacher_sha256}
    set_checksum(flags(teacher=str(tmp_path / "a.pth"), **resumed), Path)
    with pytest.raises(ValueError, match="is not the file that the run logs/run began with"):
        set_checksum(flags(teacher=str(tmp_path / "b.pth"), **resumed), Path)
    with pytest.raises(FileNotFoundError, match="bring it back, or give its new place"):
        set_checksum(flags(teacher=str(tmp_path / "gone.pth"), **resumed), Path)
    with pytest.raises(ValueError, match="no teacher"):
        set_checksum(flags(teacher=str(tmp_path / "a.pth"), resume="logs/run"), Path)


def test_a_missing_teacher_and_that_of_the_snapshot_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"a")
    (tmp_path / "last.pth").hardlink_to(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match="there is no such file; give a checkpoint"):
        set_checksum(flags(teacher=str(tmp_path)), Path)
    with pytest.raises(ValueError, match="is also the file of --snapshot"):
        set_checksum(flags(teacher=str(tmp_path / "a.pth"),
                           snapshot=str(tmp_path / "last.pth")), Path)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three steps of a student, and the checkpoint of its teacher."""
    root = tmp_path_factory.mktemp("taught")
    make_streets.main(["--out", str(root / "scenes"), "--train", "6", "--val", "1", "--size",
                       "64x128", "--workers", "1"])
    net = network.build("fpn_dfnetv1", 19)
    torch.save({"arch": "fpn_dfnetv1", "mean": OWN[0], "std": OWN[1],
                "state_dict": published_state_dict(net)}, root / "teacher.pth")
    return ["--arch", "sfnet_lite_dfnetv1", "--pretrained", "none", "--data_root",
            str(root / "scenes"), "--crop_size", "64", "--max_epoch", "1", "--bs_mult", "2",
            "--num_workers", "0", "--precision", "fp32", "--log_every", "1", "--val_split", "none",
            "--teacher", str(root / "teacher.pth"), "--distill", "kl,cwd,cwd_feature,feature:0.5",
            "--distill_warmup", "2", "--ema_decay", "0.5",
            "--boundary_weight", "20"]


def test_a_run_with_a_teacher_resumes_with_the_same_bits_and_exports_none_of_it(
        command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    command = [*command, "--ckpt", str(tmp_path)]
    assert train.main([*command, "--exp", "whole"]) == 0
    out = capsys.readouterr().out
    assert "the student imitates kl:1,cwd:3,cwd_feature:50,feature:0.5" in out
    assert "%, teacher " in out
    train_step = train.Training.train_step

    def interrupted(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        if self.progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(self, batch, want_norm)

    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "train_step", interrupted)
        assert train.main([*command, "--exp", "run"]) == 130
    assert train.main(["--resume", str(tmp_path / "run")]) == 0

    whole, resumed = (torch.load(tmp_path / name / "last.pth", weights_only=True)
                      for name in ("whole", "run"))
    trained_here = {key for key in whole["state_dict"] if key.startswith("training_heads.")}
    assert {key.split(".")[1] for key in trained_here} == {"boundary", "projection"}
    for part in ("state_dict", "ema"):
        assert trained_here <= set(whole[part])
        assert all(torch.equal(whole[part][key], resumed[part][key]) for key in whole[part])
    assert whole["args"]["teacher_sha256"] == resumed["args"]["teacher_sha256"] is not None
    # the optimizer has its momentum of the projection, and no weight of the teacher
    student = network.build("sfnet_lite_dfnetv1", 19)
    student.add_training_heads(boundary=True, feature_channels=512)
    assert len(whole["optimizer"]["state"]) == len(list(student.parameters()))
    # the weight is 0 in the first step, and whole in the third
    lines = [json.loads(line) for line in
             (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    terms = [line["terms"] for line in lines if line["kind"] == "train"]
    assert [step["kl"] > 0 for step in terms] == [False, True, True]
    assert all(0 < line["teacher"] < 1 for line in lines if line["kind"] == "train")
    # what is exported and packed is built by `Snapshot`
    inference = Snapshot(tmp_path / "run").build_network()
    assert inference.training_heads is None
    assert not trained_here & set(published_state_dict(inference))
    report = load(network.build("sfnet_lite_dfnetv1", 19), tmp_path / "run" / "last.pth")
    assert set(report.dropped) == trained_here
