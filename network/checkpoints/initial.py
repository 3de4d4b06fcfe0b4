"""The weights that a training starts from."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from network import normalization
from network.checkpoints import weights
from network.checkpoints.imagenet import load_imagenet
from network.model import SceneParser
from network.options import NetworkOptions


def set_normalization(net: SceneParser, options: NetworkOptions, *,
                      resumed: Mapping[str, Any] | None = None,
                      mean: Sequence[float] | None = None,
                      std: Sequence[float] | None = None) -> None:
    """Sets the normalization of the network's input for a training (`normalization.of_training`).

    Args:
        resumed: the checkpoint of the run that is resumed.
        mean, std: of the dataset, if it has its own.

    Raises:
        OSError: the file of `snapshot` does not exist.
        ValueError: it cannot be read, or the normalization of the backbone's weights is unknown.
    """
    snapshot = None
    if options.snapshot and resumed is None:
        snapshot = weights.read(options.snapshot)
    net.normalization = normalization.of_training(
        net.backbone.normalization, options.pretrained, snapshot=snapshot, resumed=resumed,
        mean=mean, std=std)


def load_initial_weights(net: SceneParser, options: NetworkOptions) -> str:
    """Loads the weights that the options name: those of `snapshot`, else those of `pretrained`.

    Returns:
        A sentence about what was loaded.

    Raises:
        OSError: the file does not exist.
        ValueError: the file does not fit the network.
    """
    if options.snapshot:
        # momentum belongs to the raw weights, not to the averaged ones
        ema = False if options.restore_optimizer else None
        report = weights.load(net, options.snapshot, options.reset_classifier, options.init_aux,
                              ema)
        return f"starting at step 0 from {options.snapshot}: {report}"
    imagenet_report = load_imagenet(net, options.arch, options.pretrained)
    if imagenet_report is None:
        return "starting at step 0 from random weights (--pretrained none)"
    return f"starting at step 0 with a backbone from ImageNet: {imagenet_report}"
