from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import network
from network.backbones.stdc import STDC
from network.checkpoints.keys import (
    class_count,
    classifier_keys,
    drop_unused,
    guess_architecture,
    imagenet_file_key,
    imagenet_key,
    is_auxiliary,
    is_training_head,
    published_key,
    published_parameters,
    published_shapes,
)
from network.checkpoints.weights import published_state_dict
from network.model import SceneParser


def on_meta(name: str, num_classes: int = 3, **options: object) -> SceneParser:
    with torch.device("meta"):
        return network.build(name, num_classes, **options)


def test_the_keys_are_frozen(parity: Path) -> None:
    recorded = json.loads((parity / "state_dict_keys.json").read_text())
    for name, shapes in recorded.items():
        deep_supervision = name.endswith("_dsn") or "lite" in name
        net = on_meta(name.removesuffix("_dsn"), 19, deep_supervision=deep_supervision)
        assert {key: list(shape) for key, shape in published_shapes(net).items()} == shapes


@pytest.mark.parametrize("name", network.names())
def test_keys_alone_tell_the_architecture(name: str) -> None:
    net = on_meta(name, 2)
    assert guess_architecture(published_shapes(net)) == name
    assert guess_architecture(net.state_dict()) == name


@pytest.mark.parametrize("name", network.names())
def test_keys_alone_tell_the_class_count(name: str) -> None:
    net = on_meta(name, 7)
    state = {published_key(net, key): value for key, value in net.state_dict().items()}
    assert class_count(state) == 7
    # The order of the keys in the file does not matter.
    assert class_count(dict(reversed(state.items()))) == 7


def test_a_backbone_alone_has_no_class_count() -> None:
    assert class_count(on_meta("sfnet_resnet18").backbone.state_dict()) is None


@pytest.mark.parametrize(("key", "published"), [
    ("backbone.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ("head.fpn_in.0.0.weight", "head.fpn_in.0.0.weight"),
])
def test_a_resnet_has_no_prefix_in_published_files(key: str, published: str) -> None:
    assert published_key(on_meta("sfnet_resnet18"), key) == published


@pytest.mark.parametrize(("name", "keys"), [
    ("sfnet_dfnetv1", {"head.conv_last.1.weight", "head.dsn.0.4.weight", "head.dsn.1.4.weight"}),
    ("pspnet_resnet18", {"head.conv_last.1.weight", "head.dsn.4.weight"}),
    ("deeplabv3plus_resnet18", {"final.6.weight", "dsn.4.weight"}),
])
def test_classifiers_have_published_keys(name: str, keys: set[str]) -> None:
    net = on_meta(name, deep_supervision=True)
    assert {key for key in classifier_keys(net) if key.endswith("weight")} == keys


@pytest.mark.parametrize(("name", "key", "expected"), [
    ("sfnet_dfnetv1", "head.dsn.0.4.weight", True),
    ("sfnet_dfnetv1", "head.conv_last.1.weight", False),
    ("deeplabv3plus_resnet18", "dsn.4.weight", True),
    # Body and edge are the supervision of this network, not an addition.
    ("decouple_resnet50", "dsn_seg_body.3.weight", False),
])
def test_auxiliary_keys_are_known_without_the_part(name: str, key: str, expected: bool) -> None:
    assert is_auxiliary(on_meta(name), key) == expected


@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "deeplabv3plus_resnet18"])
def test_training_heads_have_the_same_keys_in_every_network(name: str) -> None:
    net = on_meta(name, deep_supervision=True)
    plain = set(published_state_dict(net))
    net.add_training_heads(feature_channels=4)
    added = {key for key in published_state_dict(net) if is_training_head(net, key)}
    assert added == set(published_state_dict(net)) - plain != set()


def test_of_two_copies_of_stdc_the_one_by_stride_stays() -> None:
    first, second, rest = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)
    state, dropped = drop_unused(on_meta("sfnet_stdc1"), {
        "backbone.features.4.a": first, "backbone.x16.0.4.a": second,
        "backbone.linear.weight": rest, "head.b": rest})
    assert state == {"backbone.features.4.a": second, "head.b": rest}
    assert dropped == ["backbone.linear.weight", "backbone.features.4.a"]


def test_layers_of_stdc_are_copied_by_the_stride_of_their_output() -> None:
    net = on_meta("sfnet_stdc1")
    assert isinstance(net.backbone, STDC)
    copies = {key.split(".")[3]: key.split(".")[1] for key in published_shapes(net)
              if key.startswith("backbone.x")}
    # Two layers of the stem, and two STDC modules in each of three stages.
    assert copies == {"0": "x2", "1": "x4", "2": "x8", "3": "x8", "4": "x16", "5": "x16",
                      "6": "x32", "7": "x32"}


def test_copies_and_statistics_are_no_parameters() -> None:
    net = on_meta("sfnet_resnet18")
    count = sum(parameter.numel() for parameter in net.parameters())
    assert published_parameters(net) == count
    stdc = on_meta("sfnet_stdc1")
    # The ImageNet classifier: a 1x1 convolution and a linear layer 1024 x 1024, each with BN, and
    # 1000 classes.
    classifier = 2 * (1024 * 1024 + 2 * 1024) + 1024 * 1000
    assert published_parameters(stdc) == classifier + sum(
        parameter.numel() for parameter in stdc.parameters())


def test_a_deep_stem_is_renamed_and_others_are_not() -> None:
    assert imagenet_key(on_meta("sfnet_resnet18").backbone, "conv1.0.weight") == "layer0.0.0.weight"
    assert imagenet_key(on_meta("sfnet_dfnetv1").backbone, "conv1.0.weight") == "conv1.0.weight"


@pytest.mark.parametrize("name", ["sfnet_resnet18", "sfnet_dfnetv1", "sfnet_stdc1"])
def test_the_keys_of_an_imagenet_file_lead_back_to_the_backbones_own(name: str) -> None:
    backbone = on_meta(name).backbone
    keys = list(backbone.state_dict())
    published = [imagenet_file_key(backbone, key) for key in keys]
    assert [imagenet_key(backbone, key) for key in published] == keys
    assert (published != keys) == (name == "sfnet_resnet18")
