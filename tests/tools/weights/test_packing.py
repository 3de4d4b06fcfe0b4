from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import datasets
import network
from eval import load_predictor
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from tools.weights import __main__ as weights
from tools.weights.packing import config_of, origin_of
from utils.files import sha256

YAML = """\
name: toys
root: {root}
images: images/*.png
labels: labels/*.png
classes:
  - {{name: road, rgb: [128, 64, 128]}}
  - {{name: sky, rgb: [70, 130, 180]}}
splits: {{val: val}}
"""


def test_a_packed_run_predicts_as_its_checkpoint(packed: Path, snapshot: Path) -> None:
    assert sorted(path.name for path in packed.iterdir()) == ["config.json", "model.safetensors"]
    config = network.ModelConfig.read(packed)
    spec = datasets.spec("camvid")
    assert config.classes == spec.names
    assert config.colors == tuple(info.rgb for info in spec.classes)
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    labels = [load_predictor(path, device="cpu", precision="fp32").predictor.labels(images)
              for path in (packed, snapshot)]
    assert torch.equal(*labels)


def test_the_origin_is_the_file_and_the_command_of_its_run(tmp_path: Path, snapshot: Path) -> None:
    path = tmp_path / "checkpoints" / "step_9.pth"
    path.parent.mkdir()
    path.write_bytes(snapshot.read_bytes())
    assert origin_of(Snapshot(path)) == {"checkpoint_sha256": sha256(path), "weights": "raw"}
    environment = {"command": ["/home/me/python", "/home/me/train.py", "--exp", "a b",
                               "--data_root", "/home/me/camvid", "--ckpt=/home/me/logs"],
                   "commit": "0123456789", "processes": 2}
    (tmp_path / "env.json").write_text(json.dumps(environment))
    assert origin_of(Snapshot(path)) == {
        "checkpoint_sha256": sha256(path), "weights": "raw", "commit": "0123456789",
        "command": "torchrun --nproc_per_node 2 train.py --exp 'a b' --data_root camvid "
                   "--ckpt=logs"}


def test_a_dataset_of_a_yaml_file_travels_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "toys.yaml").write_text(YAML.format(root=tmp_path))
    spec = datasets.spec(str(tmp_path / "toys.yaml"))
    net = network.build("sfnet_dfnetv1", 2)
    torch.save({"arch": "sfnet_dfnetv1", "dataset": str(tmp_path / "toys.yaml"),
                "description": spec.description, "classes": list(spec.names), "ema": None,
                "args": {"crop_size": 64}, "state_dict": published_state_dict(net)},
               tmp_path / "last.pth")
    config = config_of(Snapshot(tmp_path / "last.pth"), spec)
    assert config.dataset == "toys"
    assert config.crop_size == (64, 64)
    assert config.description is not None
    assert "root" not in config.description
    assert str(tmp_path) not in config.text()
    assert datasets.spec(config.payload()["description"]).names == ("road", "sky")


def test_a_folder_with_a_network_is_not_overwritten(packed: Path, snapshot: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.main(["pack", "--snapshot", str(snapshot), "--out", str(packed)]) == 2
    assert "holds a config.json already" in capsys.readouterr().err


def test_an_incomplete_folder_is_refused_in_one_line(tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        weights.main(["pack", "--snapshot", str(tmp_path), "--out", str(tmp_path / "new")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "argument --snapshot: " in error
    assert "model.safetensors without config.json" in error
