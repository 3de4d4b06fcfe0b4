from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import network
from network.backbones import timm as timm_module
from network.backbones.timm import TimmBackbone
from network.checkpoints.imagenet import load_imagenet
from network.checkpoints.weights import WeightsError, load, published_state_dict
from network.normalization import IMAGENET

pytest.importorskip("timm", reason="timm is not installed: pip install timm")

# parts of the names of small models, the smallest first
SMALL = ("test_", "atto", "femto", "pico", "nano", "_050", "_035", "xxs", "tiny", "_xs", "_t0",
         "_s0", "_b0", "_m0", "_0", "small", "_s", "18", "26", "32", "lite")


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [
    "sfnet_timm:mobilenetv3_small_050", "sfnet_lite_timm:convnext_atto", "sfnet_timm:pvt_v2_b0",
    "sfnet_lite_timm:mambaout_femto"])
def test_convolutional_and_transformer_backbones_run_and_train(name: str) -> None:
    net = network.build(name, 19, deep_supervision=True)
    with torch.no_grad():
        assert net.eval()(images(1, 65, 97))["main"].shape == (1, 19, 65, 97)
    outputs = net.train()(images(2, 64, 96))
    sum(logits.square().mean() for logits in outputs.values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (70, 101)])
def test_channels_last_maps_are_permuted_and_sizes_made_to_divide(size: tuple[int, int]) -> None:
    backbone = TimmBackbone("swin_tiny_patch4_window7_224").eval()
    maps = backbone(images(1, *size))
    assert tuple(features.shape[1] for features in maps) == backbone.out_channels
    height, width = (-(-side // 4) * 4 for side in size)
    assert maps[0].shape[-2:] == (height // 4, width // 4)


@torch.no_grad()
@pytest.mark.parametrize("head", ["fpn", "pspnet", "deeplabv3plus", "sfnet", "sfnet_lite"])
@pytest.mark.parametrize(("model", "offered"), [("mobilenetv3_small_050", 8), ("pvt_v2_b0", 32)])
def test_every_head_takes_the_stride_that_it_prefers_where_timm_offers_it(
        head: str, model: str, offered: int) -> None:
    net = network.build(f"{head}_timm:{model}", 5).eval()
    stride = offered if head in ("pspnet", "deeplabv3plus") else 32
    assert net.backbone.strides == tuple(min(level, stride) for level in (4, 8, 16, 32))
    maps = net.backbone(images(1, 64, 96))
    assert [64 // features.shape[2] for features in maps] == [*net.backbone.strides]
    assert tuple(features.shape[1] for features in maps) == net.backbone.out_channels
    assert net(images(1, 65, 97))["main"].shape == (1, 5, 65, 97)


@torch.no_grad()
@pytest.mark.parametrize(("model", "multiple"), [
    ("hrnet_w18_small", 32), ("swin_tiny_patch4_window7_224", 4), ("resnet18d", 1)])
def test_images_are_resized_to_the_sizes_that_the_model_takes(model: str, multiple: int) -> None:
    net = network.build(f"sfnet_timm:{model}", 5).eval()
    assert net.backbone.multiple == multiple
    for size in ((90, 120), (65, 127), (127, 65), (64, 96), (33, 200)):
        assert net(images(1, *size))["main"].shape == (1, 5, *size)


def a_small_model_of_each_family() -> list[str]:
    """One model of each module of timm, whose name says that it is small."""
    import timm

    def rank(name: str) -> tuple[int, int]:
        found = (number for number, word in enumerate(SMALL) if word in name)
        return next(found, len(SMALL)), len(name)

    return [min(timm.list_models(module=module), key=rank) for module in timm.list_modules()]


@pytest.mark.slow
@pytest.mark.parametrize("name", a_small_model_of_each_family())
def test_a_model_of_each_family_takes_images_of_any_size_or_is_refused_by_name(name: str) -> None:
    net, message = None, ""
    try:
        net = network.build(f"fpn_timm:{name}", 3)
    except ValueError as refusal:
        message = str(refusal)
    if net is None:
        assert name in message
        return
    net.eval()
    with torch.no_grad():
        for size in ((33, 200), (90, 120), (65, 127), (127, 65), (64, 96), (101, 70)):
            assert net(images(1, *size))["main"].shape == (1, 3, *size)
        channels = tuple(features.shape[1] for features in net.backbone(images(1, 96, 160)))
    assert channels == net.backbone.out_channels
    net.train()(images(2, 64, 96))["main"].square().mean().backward()
    assert [key for key, weight in net.named_parameters() if weight.grad is None] == []


def test_a_given_output_stride_wins_or_is_refused() -> None:
    net = network.build("pspnet_timm:mobilenetv3_small_050", 5, output_stride=16)
    assert net.backbone.strides == (4, 8, 16, 16)
    net = network.build("sfnet_timm:mobilenetv3_small_050", 5, output_stride=8)
    assert net.backbone.strides == (4, 8, 8, 8)
    with pytest.raises(ValueError, match="pvt_v2_b0 has no output_stride=8: leave it out"):
        network.build("pspnet_timm:pvt_v2_b0", 5, output_stride=8)


def test_weights_of_any_stride_fill_a_dilated_backbone() -> None:
    source = network.build("sfnet_timm:mobilenetv3_small_050", 5).backbone.state_dict()
    dilated = network.build("deeplabv3plus_timm:mobilenetv3_small_050", 5)
    dilated.backbone.load_state_dict(source)
    checkpoint = published_state_dict(dilated)
    load(network.build("deeplabv3plus_timm:mobilenetv3_small_050", 5), checkpoint)


def test_the_normalization_is_that_of_timms_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    half = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert TimmBackbone("tf_efficientnet_lite0").normalization == half
    assert TimmBackbone("mobilenetv3_small_050").normalization == IMAGENET
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name, **options: None)
    assert timm_module._normalization("no_declared_weights") is None


@pytest.mark.parametrize(("name", "message"), [
    ("maxvit_tiny_tf_224",
     "sfnet_timm:maxvit_tiny_tf_224: timm's maxvit_tiny_tf_224 takes images of 224x224 only"),
    ("vit_tiny_patch16_224",
     "vit_tiny_patch16_224 gives maps at strides 16, 16, 16, but a pyramid needs 4, 8, 16"),
    ("resnet18q", r"timm has no model 'resnet18q'"),
])
def test_a_backbone_that_cannot_serve_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.build(f"sfnet_timm:{name}", 19)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    message = "the backbone resnet18 comes from timm, which is not installed: pip install"
    with pytest.raises(ValueError, match=message):
        network.build("sfnet_timm:resnet18", 19)


def test_a_broken_timm_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('no operator\\n torchvision::nms')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm")
    with pytest.raises(ValueError, match=r"timm, which is installed but cannot be imported "
                                         r"\(RuntimeError: no operator torchvision::nms\): check "
                                         r"that torchvision belongs to this torch"):
        network.build("sfnet_timm:resnet18", 19)


def test_a_checkpoint_goes_round() -> None:
    source, target = (network.build("sfnet_timm:mobilenetv3_small_050", 3) for _ in range(2))
    load(target, published_state_dict(source))
    loaded = target.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in source.state_dict().items())


def test_weights_that_cannot_be_downloaded_are_an_error_with_a_remedy(
        monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    net = network.build("sfnet_timm:mobilenetv3_small_050", 3)

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"not download the weights of mobilenetv3_small_050 "
                                           r'\(OSError: no route .*pretrained="none"'):
        load_imagenet(net, "sfnet_timm:mobilenetv3_small_050", "auto")


def test_downloaded_weights_fill_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    create, asked = timm.create_model, []

    def kept(name: str, pretrained: bool, **options: object) -> object:
        asked.append(pretrained)
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", kept)
    torch.manual_seed(0)
    net = network.build("sfnet_timm:mobilenetv3_small_050", 3)
    before = net.backbone.model.conv_stem.weight.clone()
    report = load_imagenet(net, "sfnet_timm:mobilenetv3_small_050", "auto")
    assert asked == [False, True]
    assert report is not None
    assert len(report.loaded) == len(net.backbone.state_dict())
    assert not torch.equal(before, net.backbone.model.conv_stem.weight)
