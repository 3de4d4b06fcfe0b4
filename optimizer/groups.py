"""Parameter groups: what decays, and at which share of the rate the backbone's layers and the head learn."""
from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

BACKBONE = "backbone."                                      # what a network calls its backbone's parameters by
NUMBERED = re.compile(r"(?:(?:layers?|stages?|blocks?)_?)?\d+")     # a stage, or a block in one: layer3, stages_1, 0


def parameter_groups(net: nn.Module, weight_decay: float, decay_norms: bool, backbone_factor: float = 1.0,
                     head_factor: float = 1.0, layer_decay: float = 1.0) -> list[dict[str, object]]:
    """Returns groups of the trained parameters, the fastest first, each with its `weight_decay` and `factor`.

    Vectors (biases, norm layers) decay only if asked. The head learns at `head_factor` and the backbone at
    `backbone_factor` of the rate; with a `layer_decay` below 1 each layer of the backbone learns at that share of the
    layer above it (as BEiT, arXiv 2106.08254, is fine-tuned).
    """
    named = [(name, one) for name, one in net.named_parameters() if one.requires_grad]
    depths = layer_depths(name for name, _ in net.named_parameters() if name.startswith(BACKBONE))
    deepest = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], dict[str, object]] = {}
    for name, parameter in named:
        factor = head_factor
        if name in depths:
            factor = backbone_factor * layer_decay ** (deepest + 1 - depths[name])
        decays = parameter.ndim > 1
        own = groups.setdefault((factor, decays), {
            "params": [], "weight_decay": weight_decay if decays or decay_norms else 0.0, "factor": factor})
        parameters = own["params"]
        assert isinstance(parameters, list)
        parameters.append(parameter)
    return [groups[key] for key in sorted(groups, reverse=True)]


def layer_depths(names: Iterable[str]) -> dict[str, int]:
    """Returns the depth of each parameter's layer, by name, in the order in which the layers are declared.

    A layer is a block of a stage (`layer2.0`, `stages_1.blocks.3`, `blocks.7`); what comes before the first is at
    depth 0, and anything else belongs to the layer before it.
    """
    depths: dict[str, int] = {}
    layers: dict[str, int] = {}
    depth = 0
    for name in names:
        parts = name.split(".")
        numbered = [i for i, part in enumerate(parts[:-1]) if NUMBERED.fullmatch(part)][:2]
        if numbered:
            layer = ".".join(parts[:numbered[-1] + 1])
            depth = layers.setdefault(layer, len(layers) + 1)
        depths[name] = depth
    return depths
