"""Parameter groups: weight decay, and the learning rate of backbone layers and head."""
from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

# prefix of the backbone's parameters in every network
BACKBONE = "backbone."
# a stage, or a block in a stage: layer3, stages_1, 0
NUMBERED = re.compile(r"(?:(?:layers?|stages?|blocks?)_?)?\d+")


def parameter_groups(net: nn.Module, *, weight_decay: float, decay_norms: bool,
                     backbone_factor: float = 1.0, head_factor: float = 1.0,
                     layer_decay: float = 1.0) -> list[dict[str, object]]:
    """Returns groups of the trainable parameters, each with its `weight_decay` and `factor`.

    `factor` multiplies the learning rate; groups with the largest factor come first. It is
    `head_factor` outside the backbone. The backbone's layer at depth d of D has

        backbone_factor * layer_decay^(D + 1 - d),

    as BEiT (arXiv 2106.08254) is fine-tuned.

    Args:
        decay_norms: apply weight decay to vectors (biases, norm layers), too.
        layer_decay: ratio of the rates of two successive layers, in (0, 1].
    """
    names = [name for name, _ in net.named_parameters()]
    depths = layer_depths(name for name in names if name.startswith(BACKBONE))
    deepest = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], dict[str, object]] = {}
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
        parameters = group["params"]
        assert isinstance(parameters, list)
        parameters.append(parameter)
    return [groups[key] for key in sorted(groups, reverse=True)]


def layer_depths(names: Iterable[str]) -> dict[str, int]:
    """Returns parameter name -> depth of its layer, counted in the order of declaration.

    A layer is a block of a stage (`layer2.0`, `stages_1.blocks.3`, `blocks.7`). Parameters before
    the first layer have depth 0; other parameters belong to the layer before them.
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
