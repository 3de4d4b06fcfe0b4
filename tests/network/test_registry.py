"""One suite over every architecture of the registry, its options, and backbones of timm."""
from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import network
from network.checkpoints.keys import published_key, published_shapes
from network.heads.dfsegnet import DFSegHead

DEEPER = ("resnet50", "resnet101", "wideresnet38", "dfnetv2", "stdc2")      # left to the slow tests
NAMES = [pytest.param(name, marks=pytest.mark.slow if name.endswith(DEEPER) else ()) for name in network.names()]
# Backbones and heads each at least once: capturing a graph takes seconds.
CAPTURED = {"sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18", "deeplabv3plus_resnet18", "dfsegnet_dfnetv1"}
CAPTURES = [pytest.param(name, marks=() if name in CAPTURED else pytest.mark.slow) for name in network.names()]
SUPERVISED = {"sfnet_resnet18": 3, "sfnet_dfnetv1": 2, "sfnet_dfnetv2": 2, "sfnet_stdc1": 3, "sfnet_lite_resnet18": 1,
              "fpn_resnet18": 3, "pspnet_resnet18": 1, "deeplabv3plus_resnet18": 1, "dfsegnet_dfnetv1": 2}


def images(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> nn.Module:
    """The network with 19 classes; a test that trains it takes a copy."""
    torch.manual_seed(0)
    return network.build(request.param, 19).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (49, 58)])
def test_logits_have_the_images_size(net: nn.Module, size: tuple[int, int]) -> None:
    out = net(images(1, *size))
    assert list(out) == ["main"]
    assert out["main"].shape == (1, 19, *size)
    assert out["main"].isfinite().all()


@torch.no_grad()
def test_logits_stay_at_the_heads_stride_when_asked(net: nn.Module) -> None:
    batch = images(1, 64, 96)
    small = net(batch, upsample=False)["main"]
    torch.testing.assert_close(nn.functional.interpolate(small, size=(64, 96), mode="bilinear", align_corners=True),
                               net(batch)["main"])


@torch.no_grad()
def test_strides_and_channels_are_what_the_backbone_says(net: nn.Module) -> None:
    maps = net.backbone(images(1, 64, 96))
    assert tuple(each.shape[1] for each in maps) == net.backbone.out_channels
    assert tuple((64 // each.shape[2], 96 // each.shape[3]) for each in maps) == tuple(
        (stride, stride) for stride in net.backbone.strides)


@torch.no_grad()
def test_channels_last_changes_nothing(net: nn.Module) -> None:
    batch = images(2, 64, 64)
    expected = net(batch)["main"]
    found = copy.deepcopy(net).to(memory_format=torch.channels_last)(
        batch.contiguous(memory_format=torch.channels_last))["main"]
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@torch.no_grad()
def test_bf16_is_close_to_fp32(net: nn.Module) -> None:
    batch = images(1, 64, 64)
    expected = net(batch)["main"]
    with torch.autocast("cpu", torch.bfloat16):
        found = net(batch)["main"]
    assert (found.float() - expected).abs().mean() <= 0.05 * expected.abs().mean()


def test_backward_reaches_every_parameter_and_a_copy_is_its_own(net: nn.Module) -> None:
    trained = copy.deepcopy(net).train()
    sum(logits.square().mean() for logits in trained(images(2, 64, 64), upsample=False).values()).backward()
    assert [name for name, parameter in trained.named_parameters()
            if parameter.grad is None or not parameter.grad.isfinite().all()] == []
    assert all(parameter.grad is None for parameter in net.parameters())


def test_one_image_trains_or_is_refused_with_the_way_out(net: nn.Module) -> None:
    trained = copy.deepcopy(net).train()
    if isinstance(net.head, DFSegHead):                     # the only one without an average over the whole image
        assert trained(images(1, 64, 64))["main"].isfinite().all()
    else:
        with pytest.raises(ValueError, match=r"cannot train on a batch of one image.*--bs_mult 2"):
            trained(images(1, 64, 64))


@torch.no_grad()
@pytest.mark.parametrize("net", CAPTURES, indirect=True)
def test_compiles_without_a_graph_break(net: nn.Module) -> None:
    batch = images(1, 56, 64)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(batch)["main"], net(batch)["main"])


@torch.no_grad()
@pytest.mark.parametrize("net", CAPTURES, indirect=True)
def test_exports(net: nn.Module) -> None:
    batch = images(1, 56, 64)
    program = torch.export.export(net, (batch,), strict=False)
    torch.testing.assert_close(program.module()(batch)["main"], net(batch)["main"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [2, 150])
def test_any_class_count_is_built_quickly_and_reads_no_file(name: str, num_classes: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail(f"opened {args[0]}"))
    start = time.process_time()
    net = network.build(name, num_classes).eval()
    assert time.process_time() - start < 2
    with torch.no_grad():
        assert net(images(1, 56, 64))["main"].shape == (1, num_classes, 56, 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "sfnet_lite_stdc1"])
@torch.no_grad()
def test_inductor_computes_the_same(name: str) -> None:
    net, batch = network.build(name, 19).eval(), images(1, 64, 64)
    torch._dynamo.reset()
    expected = net(batch)["main"]
    torch.testing.assert_close(torch.compile(net, fullgraph=True)(batch)["main"], expected, atol=1e-4, rtol=1e-3)


def test_the_keys_are_frozen(parity: Path) -> None:
    recorded = json.loads((parity / "state_dict_keys.json").read_text())
    for name, shapes in recorded.items():
        net = network.build(name.removesuffix("_dsn"), 19, deep_supervision=name.endswith("_dsn") or "lite" in name)
        assert {key: list(shape) for key, shape in published_shapes(net).items()} == shapes


def test_the_convolutions_geometry_is_the_published_one(parity: Path) -> None:
    recorded = json.loads((parity / "conv_geometry.json").read_text())
    for name, geometry in recorded.items():
        net = network.build(name.removesuffix("_dsn"), 19, deep_supervision=name.endswith("_dsn") or "lite" in name)
        found = {published_key(net, key): conv for key, conv in net.named_modules() if isinstance(conv, nn.Conv2d)}
        unused = set(geometry) - set(found)
        assert unused <= {"head.fpn_in.2.0", "backbone.conv_last.conv"}
        for key, conv in found.items():
            assert geometry[key] == {"stride": list(conv.stride), "padding": list(conv.padding),
                                     "dilation": list(conv.dilation), "groups": conv.groups}, key


# Deep supervision.

@pytest.mark.parametrize(("name", "count"), SUPERVISED.items())
def test_auxiliary_heads_train_and_are_silent_otherwise(name: str, count: int) -> None:
    net = network.build(name, 19, deep_supervision=True)
    out = net(images(2, 32, 64))
    assert list(out) == ["main", *(f"aux{i}" for i in range(count))]
    assert all(logits.shape == (2, 19, 32, 64) for logits in out.values())
    sum(logits.square().mean() for logits in out.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0
               for key, parameter in net.named_parameters() if ".dsn." in key and key.endswith("4.weight"))
    assert list(net.eval()(images(2, 32, 64))) == ["main"]


@pytest.mark.slow
def test_decouple_trains_on_body_and_edge_instead() -> None:
    out = network.build("decouple_resnet50", 19).train()(images(2, 64, 96))
    assert {name: tuple(logits.shape) for name, logits in out.items()} == {
        "main": (2, 19, 64, 96), "body": (2, 19, 64, 96), "edge": (2, 1, 64, 96)}


@pytest.mark.slow
def test_decouple_says_when_an_image_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"6x8 is too small for that: use images of at least 49x49 pixels"):
        network.build("decouple_resnet50", 19).eval()(images(1, 48, 64))


def test_decouple_refuses_auxiliary_heads() -> None:
    with pytest.raises(ValueError, match=r"decouple_resnet50: DecoupleSegNets has no auxiliary .*--no_fpn_dsn_loss"):
        network.build("decouple_resnet50", 19, deep_supervision=True)


# Options.

@pytest.mark.parametrize("options", [{"fam_levels": ()}, {"fam_levels": (0, 2)}, {"final_fams": True},
                                     {"context": "sum"}, {"output_stride": 8}, {"output_stride": 16}], ids=str)
def test_options_of_the_papers_run_and_train(options: dict[str, Any]) -> None:
    net = network.build("sfnet_resnet18", 19, **options)
    out = net(images(2, 64, 96))["main"]
    assert out.shape == (2, 19, 64, 96)
    out.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_without_any_alignment_an_sfnet_is_the_fpn() -> None:
    fpn, ablated = network.build("fpn_resnet18", 19), network.build("sfnet_resnet18", 19, fam_levels=())
    ablated.load_state_dict(fpn.state_dict())
    with torch.no_grad():
        assert torch.equal(fpn.eval()(images(1, 32, 64))["main"], ablated.eval()(images(1, 32, 64))["main"])


def test_fam_levels_name_the_keys_that_are_there() -> None:
    keys = network.build("sfnet_resnet18", 19, fam_levels=(1,)).state_dict()
    assert {key.split(".")[2] for key in keys if ".fpn_out_align." in key} == {"1"}


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_output_stride_changes_no_key(stride: int) -> None:
    net = network.build("sfnet_resnet18", 19, output_stride=stride)
    assert net.state_dict().keys() == network.build("sfnet_resnet18", 19).state_dict().keys()
    maps = net.backbone.eval()(images(1, 64, 64))
    assert [64 // each.shape[2] for each in maps] == [4, 8, min(16, stride), stride]


@pytest.mark.parametrize(("name", "options", "message"), [
    ("sfnet_dfnetv1", {"output_stride": 8}, "sfnet_dfnetv1 has no option output_stride: it has fam_levels, final_fams"),
    ("sfnet_resnet18", {"output_stride": 4}, "sfnet_resnet18: a ResNet's output stride is 8, 16 or 32, not 4"),
    ("sfnet_dfnetv1", {"fam_levels": (2,)}, r"sfnet_dfnetv1: fam_levels is \(2,\), but .* levels 0 .* to 1 here"),
    ("sfnet_dfnetv1", {"context": "none"}, "sfnet_dfnetv1: unknown context 'none': choose ppm or sum"),
    ("deeplabv3plus_wideresnet38", {"context": "sum"}, "has no option context: it has none"),
    ("sfnet_dfnetv1", {"color": 1}, "sfnet_dfnetv1 has no option color"),
])
def test_an_option_without_meaning_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.build(name, 19, **options)


# Names.

@pytest.mark.parametrize(("given", "ours"), [
    ("network.sfnet_resnet.DeepR18_SF_deeply", "sfnet_resnet18"),
    ("network.sfnet_resnet.DeepR101_SF_deeply", "sfnet_resnet101"), ("sfnet_stdc1", "sfnet_stdc1"),
    ("sfnet_timm:resnet18d", "sfnet_timm:resnet18d")])
def test_names_of_the_reference_are_aliases(given: str, ours: str) -> None:
    assert network.resolve_name(given) == ours


@pytest.mark.parametrize(("name", "message"), [
    ("sfnet_resnet81", "unknown architecture 'sfnet_resnet81'; did you mean sfnet_resnet18"),
    ("sfnet_tim:resnet18", r"unknown architecture .*did you mean sfnet_timm:NAME"),
    ("network.sfnet_resnet.DeepR18_SF_deply", "did you mean DeepR18_SF_deeply"),
    ("sfnet_timm", "sfnet_timm needs the name of a timm model: sfnet_timm:resnet18d, for example"),
    ("qqqq", r"unknown architecture 'qqqq'\. All names: sfnet_resnet18")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.build(name, 19)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="sfnet_dfnetv1: num_classes is 1, but a classifier needs at least 2"):
        network.build("sfnet_dfnetv1", 1)
