"""The weights that a training starts from: of a snapshot, of an ImageNet file, or random."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

import network
from network.checkpoints.weights import published_state_dict
from network.model import Backbone
from network.normalization import IMAGENET, Normalization
from network.options import NetworkOptions

NAME = "sfnet_dfnetv1"
OWN = Normalization((0.1, 0.2, 0.3), (0.7, 0.8, 0.9))


def build() -> network.registry.SceneParser:
    return network.build("sfnet_dfnetv1", 3)


def same_weights(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    loaded = published_state_dict(net)
    return all(torch.equal(loaded[key], value) for key, value in state.items())


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A checkpoint whose averaged weights differ from its raw ones."""
    raw, averaged = published_state_dict(build()), published_state_dict(build())
    path = tmp_path / "last.pth"
    torch.save({"arch": "sfnet_dfnetv1", "state_dict": raw, "ema": averaged}, path)
    return path


@pytest.mark.parametrize(("restore_optimizer", "key"), [(False, "ema"), (True, "state_dict")])
def test_momentum_belongs_to_the_raw_weights(snapshot: Path, restore_optimizer: bool,
                                             key: str) -> None:
    net = build()
    options = network.NetworkOptions(arch="sfnet_dfnetv1", snapshot=str(snapshot),
                                     restore_optimizer=restore_optimizer)
    assert f"starting at step 0 from {snapshot}" in network.load_initial_weights(net, options)
    assert same_weights(net, torch.load(snapshot, weights_only=True)[key])


def test_random_weights_stay() -> None:
    net = build()
    before = {key: value.clone() for key, value in published_state_dict(net).items()}
    options = network.NetworkOptions(arch="sfnet_dfnetv1", pretrained="none")
    assert "random weights" in network.load_initial_weights(net, options)
    assert same_weights(net, before)


def test_a_missing_file_is_named() -> None:
    options = network.NetworkOptions(arch="sfnet_dfnetv1", pretrained="absent.pth")
    with pytest.raises(FileNotFoundError, match=r"absent.pth"):
        network.load_initial_weights(build(), options)


def test_the_sentence_names_the_imagenet_file_and_its_checksum(tmp_path: Path) -> None:
    net = network.build(NAME, 3)
    path = tmp_path / "dfnetv1.pth"
    torch.save(net.backbone.state_dict(), path)
    options = NetworkOptions(arch=NAME, pretrained=str(path))
    sentence = network.load_initial_weights(network.build(NAME, 3), options)
    assert f"a backbone from ImageNet: {len(net.backbone.state_dict())} tensors" in sentence
    assert f"from {path} (SHA-256 " in sentence


def test_a_snapshot_brings_its_weights_and_its_normalization(tmp_path: Path) -> None:
    source, path = network.build(NAME, 3), tmp_path / "last.pth"
    torch.save({"state_dict": published_state_dict(source), **OWN._asdict()}, path)
    net = network.build(NAME, 3)
    options = NetworkOptions(arch=NAME, snapshot=str(path))
    network.set_normalization(net, options)
    assert str(path) in network.load_initial_weights(net, options)
    assert net.normalization == OWN
    assert torch.equal(net.head.conv_last[1].weight, source.head.conv_last[1].weight)
    network.set_normalization(net, options, resumed={})
    assert net.normalization == IMAGENET


def test_the_backbones_normalization_belongs_to_its_weights(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backbone, "normalization", OWN)
    net = network.build(NAME, 3)
    network.set_normalization(net, NetworkOptions(arch=NAME))
    assert net.normalization == OWN
    network.set_normalization(net, NetworkOptions(arch=NAME, pretrained="none"))
    assert net.normalization == IMAGENET
