"""The weights that a training starts from: of a snapshot, of an ImageNet file, or random."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

import network
from network.checkpoints.weights import published_state_dict


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
