"""Parameter groups: weight decay, and the learning rate of backbone layers and head."""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

# prefix of the backbone's parameters in every network
BACKBONE = "backbone."
# a stage, or a block in a stage: layer3, stages_1, 0
NUMBERED = re.compile(r"(?:(?:layers?|stages?|blocks?)_?)?\d+")


def parameter_groups(net: nn.Module, *, weight_decay: float, decay_norms: bool,
                     backbone_factor: float = 1.0, head_factor: float = 1.0,
                     layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Returns the trainable parameters in groups, as dicts of `params`, `weight_decay`, `factor`.

    `factor` multiplies the learning rate; groups with the largest factor come first. It is
    `head_factor` outside the backbone. For the backbone's layer at depth d of D it is

        backbone_factor * layer_decay^(D + 1 - d),

    the layer-wise decay with which BEiT (arXiv 2106.08254) is fine-tuned.

    Args:
        net: a network whose backbone's parameters are named `backbone.*`.
        decay_norms: whether weight decay also applies to vectors (biases, norm layers).
        layer_decay: ratio of a layer's learning rate to that of the next layer, in (0, 1].
    """
    names = [name for name, _ in net.named_parameters()]
    depths = layer_depths(name for name in names if name.startswith(BACKBONE))
    deepest = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = head_factor
        if name in depths:
            factor = backbone_factor * layer_decay ** (deepest + 1 - depths[name])
        is_matrix = parameter.ndim > 1
        decay = weight_decay if is_matrix or decay_norms else 0.0
        group = groups.setdefault((factor, is_matrix), {
            "params": [], "weight_decay": decay, "factor": factor})
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups, reverse=True)]


def layer_depths(names: Iterable[str]) -> dict[str, int]:
    """Returns parameter name -> depth of its layer, counted in the order of declaration.

    A layer is a block of a stage (`layer2.0`, `stages_1.blocks.3`, `blocks.7`) and has a depth from
    1. Parameters before the first layer have depth 0; other parameters outside of the blocks
    belong to the layer before them.
    """
    depths: dict[str, int] = {}
    layers: dict[str, int] = {}
    depth = 0
    for name in names:
        parts = name.split(".")
        numbered = [i for i, part in enumerate(parts[:-1]) if NUMBERED.fullmatch(part)]
        if numbered:
            # the stage and, if there is one, the block in it
            end = numbered[:2][-1] + 1
            layer = ".".join(parts[:end])
            depth = layers.setdefault(layer, len(layers) + 1)
        depths[name] = depth
    return depths
