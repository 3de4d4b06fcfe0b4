"""The weights that a training starts from."""
from __future__ import annotations

from network.checkpoints import weights
from network.checkpoints.imagenet import load_imagenet
from network.model import SceneParser
from network.options import NetworkOptions


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
