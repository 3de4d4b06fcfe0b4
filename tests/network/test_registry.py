"""One suite over every architecture of the registry, and its names."""
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
from network import registry
from network.checkpoints.keys import published_key
from network.heads.dfsegnet import DFSegHead
from network.model import SceneParser

# The deepest backbones are left to the slow tests.
DEEPEST = ("resnet50", "resnet101", "wideresnet38", "dfnetv2", "stdc2")
NAMES = [pytest.param(name, marks=pytest.mark.slow if name.endswith(DEEPEST) else ())
         for name in network.names()]
# Each kind of backbone and head at least once: the capture of a graph takes seconds.
CAPTURED = {"sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18", "deeplabv3plus_resnet18",
            "dfsegnet_dfnetv1"}
CAPTURES = [pytest.param(name, marks=() if name in CAPTURED else pytest.mark.slow)
            for name in network.names()]
# Architecture -> number of auxiliary outputs.
SUPERVISED = {
    "sfnet_resnet18": 3, "sfnet_dfnetv1": 2, "sfnet_dfnetv2": 2, "sfnet_stdc1": 3,
    "sfnet_lite_resnet18": 1, "fpn_resnet18": 3, "pspnet_resnet18": 1,
    "deeplabv3plus_resnet18": 1, "dfsegnet_dfnetv1": 2,
}


def images(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> SceneParser:
    """The network with 19 classes; a test that trains it takes a copy."""
    torch.manual_seed(0)
    return network.build(request.param, 19).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (49, 58)])
def test_logits_have_the_size_of_the_images(net: SceneParser, size: tuple[int, int]) -> None:
    outputs = net(images(1, *size))
    assert list(outputs) == ["main"]
    assert outputs["main"].shape == (1, 19, *size)
    assert outputs["main"].isfinite().all()


@torch.no_grad()
def test_logits_stay_at_the_heads_stride_without_upsampling(net: SceneParser) -> None:
    batch = images(1, 64, 96)
    small = net(batch, upsample=False)["main"]
    resized = nn.functional.interpolate(small, size=(64, 96), mode="bilinear", align_corners=True)
    torch.testing.assert_close(resized, net(batch)["main"])


@torch.no_grad()
def test_maps_have_the_strides_and_channels_of_the_backbone(net: SceneParser) -> None:
    maps = net.backbone(images(1, 64, 96))
    strides = [(64 // features.shape[2], 96 // features.shape[3]) for features in maps]
    assert tuple(features.shape[1] for features in maps) == net.backbone.out_channels
    assert strides == [(stride, stride) for stride in net.backbone.strides]


@torch.no_grad()
def test_channels_last_changes_nothing(net: SceneParser) -> None:
    batch = images(2, 64, 64)
    expected = net(batch)["main"]
    converted = copy.deepcopy(net).to(memory_format=torch.channels_last)
    actual = converted(batch.contiguous(memory_format=torch.channels_last))["main"]
    torch.testing.assert_close(actual, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@torch.no_grad()
def test_bf16_is_close_to_fp32(net: SceneParser) -> None:
    batch = images(1, 64, 64)
    expected = net(batch)["main"]
    with torch.autocast("cpu", torch.bfloat16):
        actual = net(batch)["main"]
    assert (actual.float() - expected).abs().mean() <= 0.05 * expected.abs().mean()


def test_backward_reaches_every_parameter_of_a_copy_alone(net: SceneParser) -> None:
    trained = copy.deepcopy(net).train()
    outputs = trained(images(2, 64, 64), upsample=False)
    sum(logits.square().mean() for logits in outputs.values()).backward()
    assert [name for name, parameter in trained.named_parameters()
            if parameter.grad is None or not parameter.grad.isfinite().all()] == []
    assert all(parameter.grad is None for parameter in net.parameters())


def test_one_image_trains_or_is_refused_with_a_remedy(net: SceneParser) -> None:
    trained = copy.deepcopy(net).train()
    # DFSegNet alone has no average over the whole image.
    if isinstance(net.head, DFSegHead):
        assert trained(images(1, 64, 64))["main"].isfinite().all()
    else:
        with pytest.raises(ValueError, match=r"cannot train on a batch of one image.*batch_size=2"):
            trained(images(1, 64, 64))


def test_every_head_declares_its_classifiers(net: SceneParser) -> None:
    sizes = {name: len(net.head.get_submodule(name).weight)
             for name in net.head.classifier_names()}
    assert sizes
    assert set(sizes.values()) == {19}


@torch.no_grad()
@pytest.mark.parametrize("net", CAPTURES, indirect=True)
def test_compiles_without_a_graph_break(net: SceneParser) -> None:
    batch = images(1, 56, 64)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(batch)["main"], net(batch)["main"])


@torch.no_grad()
@pytest.mark.parametrize("net", CAPTURES, indirect=True)
def test_exports(net: SceneParser) -> None:
    batch = images(1, 56, 64)
    program = torch.export.export(net, (batch,), strict=False)
    torch.testing.assert_close(program.module()(batch)["main"], net(batch)["main"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [2, 150])
def test_any_class_count_is_built_quickly_and_reads_no_file(
        name: str, num_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
    compiled = torch.compile(net, fullgraph=True)
    torch.testing.assert_close(compiled(batch)["main"], expected, atol=1e-4, rtol=1e-3)


def test_the_convolutions_geometry_is_the_published_one(parity: Path) -> None:
    recorded = json.loads((parity / "conv_geometry.json").read_text())
    for name, geometry in recorded.items():
        deep_supervision = name.endswith("_dsn") or "lite" in name
        net = network.build(name.removesuffix("_dsn"), 19, deep_supervision=deep_supervision)
        convolutions = {published_key(net, key): module for key, module in net.named_modules()
                        if isinstance(module, nn.Conv2d)}
        unused = set(geometry) - set(convolutions)
        assert unused <= {"head.fpn_in.2.0", "backbone.conv_last.conv"}
        for key, convolution in convolutions.items():
            assert geometry[key] == {
                "stride": list(convolution.stride), "padding": list(convolution.padding),
                "dilation": list(convolution.dilation), "groups": convolution.groups}, key


@pytest.mark.parametrize(("name", "count"), SUPERVISED.items())
def test_auxiliary_heads_run_in_training_mode_only(name: str, count: int) -> None:
    net = network.build(name, 19, deep_supervision=True)
    outputs = net(images(2, 32, 64))
    assert list(outputs) == ["main", *(f"aux{i}" for i in range(count))]
    assert all(logits.shape == (2, 19, 32, 64) for logits in outputs.values())
    sum(logits.square().mean() for logits in outputs.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0
               for key, parameter in net.named_parameters()
               if ".dsn." in key and key.endswith("4.weight"))
    assert list(net.eval()(images(2, 32, 64))) == ["main"]


# Options.

@pytest.mark.parametrize(("name", "options", "message"), [
    ("sfnet_dfnetv1", {"output_stride": 8},
     "sfnet_dfnetv1 has no option output_stride: it has fam_levels, final_fams"),
    ("sfnet_resnet18", {"output_stride": 4},
     "sfnet_resnet18: output_stride=4: a ResNet's is 8, 16 or 32"),
    ("sfnet_dfnetv1", {"fam_levels": (2,)},
     r"sfnet_dfnetv1: fam_levels=\(2,\) names .*: the levels here are 0 \(the finest\) to 1"),
    ("sfnet_dfnetv1", {"context": "none"},
     'sfnet_dfnetv1: unknown context="none": choose ppm or sum'),
    ("deeplabv3plus_wideresnet38", {"context": "sum"}, "has no option context: it has none"),
    ("sfnet_dfnetv1", {"color": 1}, "sfnet_dfnetv1 has no option color"),
])
def test_an_option_without_meaning_is_refused(name: str, options: dict[str, Any],
                                              message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.build(name, 19, **options)


@pytest.mark.parametrize("name", ["pspnet_resnet18", "sfnet_resnet18"])
def test_an_option_wins_over_the_architectures_own_default(name: str) -> None:
    default = {"pspnet_resnet18": 8, "sfnet_resnet18": 32}[name]
    assert network.build(name, 2).backbone.strides[-1] == default
    assert network.build(name, 2, output_stride=16).backbone.strides[-1] == 16


def test_every_row_of_the_table_names_parts_of_the_other_tables() -> None:
    rows = registry.ARCHITECTURES.items()
    assert all(row.backbone in registry.BACKBONES for _, row in rows)
    assert all(row.head in registry.HEADS for _, row in rows)
    assert all(name == f"{row.head}_{row.backbone}" for name, row in rows)
    timm_rows = registry.TIMM_ARCHITECTURES.items()
    assert all(name == f"{row.head}_timm" for name, row in timm_rows)


def test_body_and_edge_are_known_by_name() -> None:
    assert [name for name in network.names() if network.has_body_edge_outputs(name)] == [
        "decouple_resnet50"]
    assert not network.has_body_edge_outputs("sfnet_timm:resnet18d")


# Names.

@pytest.mark.parametrize(("given", "ours"), [
    ("network.sfnet_resnet.DeepR18_SF_deeply", "sfnet_resnet18"),
    ("network.sfnet_resnet.DeepR101_SF_deeply", "sfnet_resnet101"),
    ("sfnet_stdc1", "sfnet_stdc1"),
    ("sfnet_timm:resnet18d", "sfnet_timm:resnet18d"),
])
def test_names_of_the_reference_are_aliases(given: str, ours: str) -> None:
    assert network.resolve_name(given) == ours


@pytest.mark.parametrize(("name", "message"), [
    ("sfnet_resnet81", "unknown architecture 'sfnet_resnet81'; did you mean sfnet_resnet18"),
    ("sfnet_tim:resnet18", r"unknown architecture .*did you mean sfnet_timm:NAME"),
    ("network.sfnet_resnet.DeepR18_SF_deply", "did you mean DeepR18_SF_deeply"),
    ("sfnet_timm", "sfnet_timm needs the name of a timm model: sfnet_timm:resnet18d, for example"),
    ("qqqq", r"unknown architecture 'qqqq'\. All names: sfnet_resnet18"),
])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.build(name, 19)


def test_fewer_than_two_classes_are_refused() -> None:
    message = "sfnet_dfnetv1: num_classes is 1, but a classifier needs at least 2"
    with pytest.raises(ValueError, match=message):
        network.build("sfnet_dfnetv1", 1)
