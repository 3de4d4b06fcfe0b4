"""The classifier around a backbone, and the file that other trainings start from."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import network
from network.checkpoints.files import read
from network.checkpoints.imagenet import load_imagenet
from network.checkpoints.sources import imagenet_file
from network.normalization import IMAGENET, of_checkpoint
from network.registry import BACKBONES
from tools.pretrain.classifier import ClassifierOptions, build, write_backbone

# backbone -> an architecture on it
USERS = {"resnet18": "sfnet_resnet18", "resnet50": "pspnet_resnet50",
         "resnet101": "sfnet_resnet101", "dfnetv1": "fpn_dfnetv1", "dfnetv2": "sfnet_dfnetv2",
         "stdc1": "sfnet_lite_stdc1", "stdc2": "sfnet_stdc2",
         "wideresnet38": "deeplabv3plus_wideresnet38"}
SLOW = ("resnet50", "resnet101", "wideresnet38")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in BACKBONES
])
def test_the_file_of_every_backbone_starts_its_networks(name: str, tmp_path: Path) -> None:
    net = build(name, 5)
    assert net(torch.zeros(2, 3, 64, 64), upsample=False)["main"].shape == (2, 5, 1, 1)
    write_backbone(tmp_path / imagenet_file(name), net)
    other = network.build(USERS[name], 3)
    load_imagenet(other, USERS[name], "auto", tmp_path)
    trained = net.backbone.state_dict()
    assert all(torch.equal(value, trained[key])
               for key, value in other.backbone.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "dfnetv1", "dfnetv2", "stdc1", "stdc2"])
def test_the_keys_are_those_of_the_published_file(name: str, tmp_path: Path,
                                                  parity: Path) -> None:
    write_backbone(tmp_path / "file.pth", build(name, 1000))
    keys = json.loads((parity / "backbone_keys.json").read_text())
    published = keys.get(name) or keys[f"{name}_deep_stem"]
    # a published STDC has another classifier, and every layer twice
    if name.startswith("stdc"):
        published = [key for key in published if key.startswith("features.")]
    assert set(read(tmp_path / "file.pth")["state_dict"]) == set(published)


def test_a_timm_model_is_written_for_its_own_networks(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    name = "mobilenetv3_small_050"
    path = ClassifierOptions(f"timm:{name}").path
    assert path.name == f"{name}.pth"
    net = build(f"timm:{name}", 3)
    write_backbone(tmp_path / path.name, net)
    other = network.build(f"sfnet_timm:{name}", 3)
    report = load_imagenet(other, f"sfnet_timm:{name}", "auto", tmp_path)
    assert report is not None and report.file == tmp_path / path.name
    assert all(torch.equal(value, other.backbone.state_dict()[key])
               for key, value in net.backbone.state_dict().items())


def test_mean_and_standard_deviation_stand_in_the_file(tmp_path: Path) -> None:
    write_backbone(tmp_path / "file.pth", build("dfnetv1", 2), top1=0.5)
    payload = read(tmp_path / "file.pth")
    assert of_checkpoint(payload) == IMAGENET and payload["top1"] == 0.5
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    net = build("timm:tf_mobilenetv3_small_minimal_100", 2)
    write_backbone(tmp_path / "file.pth", net)
    assert of_checkpoint(read(tmp_path / "file.pth")) == ((0.5,) * 3, (0.5,) * 3)


def test_a_file_that_cannot_be_written_names_the_flag(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match=r"taken.*name another file by --out"):
        write_backbone(tmp_path / "taken" / "file.pth", build("dfnetv1", 2))


@pytest.mark.parametrize(("name", "message"), [
    ("sfnet_resnet18", "--arch sfnet_resnet18 is no backbone: its backbone is resnet18 (all"),
    ("dfnet1", "did you mean 'dfnetv1'"),
    ("timm:", "(all names: resnet18, "),
])
def test_another_name_than_that_of_a_backbone_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ClassifierOptions(name)
