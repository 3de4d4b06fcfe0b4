"""The mean and standard deviation with which images become the input of a network.

They belong to the weights: a backbone is trained with those of its ImageNet weights, and a network
predicts with those that it was trained with, which its checkpoint stores.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Normalization(NamedTuple):
    """An input is (RGB - mean) / std, of RGB in [0, 1].

    Attributes:
        mean, std: of the red, the green and the blue channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def replaced(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalization:
        """Returns a copy with those of the given values that are not None."""
        return Normalization(
            self.mean if mean is None else tuple(mean), self.std if std is None else tuple(std))


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def of_training(backbone: Normalization | None, pretrained: str, *,
                snapshot: Mapping[str, Any] | None = None,
                resumed: Mapping[str, Any] | None = None,
                mean: Sequence[float] | None = None,
                std: Sequence[float] | None = None) -> Normalization:
    """Returns the normalization that a training uses.

    A resumed run keeps its own. Otherwise `mean` and `std` of the dataset win where they are given,
    then those of the snapshot, then those of the backbone's weights; random weights get those of
    ImageNet.

    Args:
        backbone: that of the backbone's ImageNet weights; None if it is unknown.
        pretrained: "none" for random weights.
        snapshot: the checkpoint that the training starts from.
        resumed: the checkpoint that it continues.
        mean, std: of the dataset, if it has its own.

    Raises:
        ValueError: the normalization of the backbone's weights is unknown.
    """
    if resumed is not None:
        return of_checkpoint(resumed, mean, std)
    if snapshot is not None:
        return of_checkpoint(snapshot).replaced(mean, std)
    if pretrained == "none":
        return IMAGENET.replaced(mean, std)
    if backbone is None:
        if mean is None or std is None:
            raise ValueError(
                "the mean and standard deviation that the backbone's ImageNet weights expect are "
                "unknown: its timm model has no pretrained_cfg with mean and std. Give both in the "
                "dataset's YAML file, choose another backbone, or start from random weights with "
                'pretrained="none".')
        backbone = IMAGENET
    return backbone.replaced(mean, std)


def of_checkpoint(checkpoint: Mapping[str, Any], mean: Sequence[float] | None = None,
                  std: Sequence[float] | None = None) -> Normalization:
    """Returns the normalization that a checkpoint's network was trained with.

    Args:
        mean, std: of the dataset, if it has its own: checkpoints without `mean` and `std`, the
            published ones and those of earlier versions, were trained with these or ImageNet's.
    """
    stored_mean, stored_std = checkpoint.get("mean"), checkpoint.get("std")
    return IMAGENET.replaced(mean, std).replaced(stored_mean, stored_std)
