from __future__ import annotations

import pytest

from network.normalization import IMAGENET, Normalization, of_checkpoint, of_training

HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OWN = Normalization((0.1, 0.2, 0.3), (0.7, 0.8, 0.9))


def test_pretrained_weights_bring_their_normalization_and_random_ones_imagenets() -> None:
    assert of_training(HALF, "auto") == HALF
    assert of_training(HALF, "weights.pth") == HALF
    assert of_training(HALF, "none") == IMAGENET


@pytest.mark.parametrize("pretrained", ["auto", "none"])
def test_the_datasets_own_values_win_each_by_itself(pretrained: str) -> None:
    assert of_training(HALF, pretrained, mean=OWN.mean, std=OWN.std) == OWN
    mean, std = of_training(HALF, pretrained, mean=OWN.mean)
    assert mean == OWN.mean
    assert std == (IMAGENET if pretrained == "none" else HALF).std


def test_a_snapshot_brings_those_of_its_training() -> None:
    stored = {"mean": [0.1, 0.2, 0.3], "std": [0.7, 0.8, 0.9]}
    assert of_training(HALF, "auto", snapshot=stored) == OWN
    # a published checkpoint holds none
    assert of_training(HALF, "auto", snapshot={}) == IMAGENET
    assert of_training(HALF, "auto", snapshot=stored, mean=HALF.mean, std=HALF.std) == HALF


def test_a_resumed_run_keeps_its_own() -> None:
    stored = OWN._asdict()
    assert of_training(HALF, "auto", resumed=stored) == OWN
    assert of_training(HALF, "auto", resumed=stored, snapshot=HALF._asdict()) == OWN
    # a run of an earlier version used those of its dataset, or ImageNet's
    assert of_training(HALF, "auto", resumed={}) == IMAGENET
    assert of_training(HALF, "auto", resumed={}, mean=OWN.mean, std=OWN.std) == OWN


def test_unknown_values_of_pretrained_weights_are_an_error_with_the_ways_on() -> None:
    with pytest.raises(ValueError, match=r"are unknown: .*dataset's YAML file, choose another "
                                         r'backbone.*pretrained="none"'):
        of_training(None, "auto")
    with pytest.raises(ValueError, match="are unknown"):
        of_training(None, "auto", mean=OWN.mean)
    assert of_training(None, "none") == IMAGENET
    assert of_training(None, "auto", mean=OWN.mean, std=OWN.std) == OWN


def test_a_checkpoints_values_go_before_those_of_the_dataset() -> None:
    assert of_checkpoint(HALF._asdict(), OWN.mean, OWN.std) == HALF
    assert of_checkpoint({}, OWN.mean, OWN.std) == OWN
    assert of_checkpoint({}) == IMAGENET
