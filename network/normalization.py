"""The mean and standard deviation that normalize a network's input.

They belong to the weights: a training uses the values with which the backbone's ImageNet weights
were trained, and inference uses the values of the training, which the checkpoint stores.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Normalization(NamedTuple):
    """The input of a network is (RGB - mean) / std, for RGB in [0, 1].

    Attributes:
        mean, std: of the red, the green and the blue channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def replaced(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalization:
        """Returns a copy with the given mean and std; None keeps the current value."""
        new_mean = self.mean if mean is None else tuple(mean)
        new_std = self.std if std is None else tuple(std)
        return Normalization(new_mean, new_std)


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def of_training(backbone: Normalization | None, pretrained: str, *,
                snapshot: Mapping[str, Any] | None = None,
                resumed: Mapping[str, Any] | None = None,
                mean: Sequence[float] | None = None,
                std: Sequence[float] | None = None) -> Normalization:
    """Returns the normalization that a training uses.

    A resumed run keeps its normalization. Otherwise the first known values of this list are used:
    the dataset's `mean` and `std`, those of the snapshot, those of the backbone's weights. Random
    weights use those of ImageNet.

    Args:
        backbone: the normalization of the backbone's ImageNet weights; None if it is unknown.
        pretrained: "none" for random weights.
        snapshot: the checkpoint whose weights the training starts from.
        resumed: the checkpoint of the run that is continued.
        mean, std: of the dataset; None if it does not define them.

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
        mean, std: of the dataset; None if it does not define them. They are used for checkpoints
            without `mean` and `std`: published ones, and those of earlier versions.
    """
    stored_mean, stored_std = checkpoint.get("mean"), checkpoint.get("std")
    return IMAGENET.replaced(mean, std).replaced(stored_mean, stored_std)
