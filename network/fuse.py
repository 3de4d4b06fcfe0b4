"""A trained network, prepared for inference: batch norms folded into convolutions."""
from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from network.model import SceneParser
from network.pyramid_fusion import Fusion

# The shape (N, C, H, W) of a batch of images that every network accepts.
PROBE = (2, 3, 64, 64)


def fuse_for_inference(net: SceneParser) -> SceneParser:
    """Returns a copy of the network, in evaluation mode, that computes the same logits faster.

    If only a batch norm reads the output of a convolution W x + b, it is folded into the
    convolution,

        W' = W gamma / sqrt(var + eps),    b' = (b - mean) gamma / sqrt(var + eps) + beta.

    The submodules that run in training mode only are removed. The logits are equal up to float32
    rounding. The copy cannot be trained.
    """
    net = copy.deepcopy(net).eval()
    net.drop_training_only()
    for convolution, norm in _foldable(net).items():
        _fold(net, convolution, norm)
    for module in net.modules():
        if isinstance(module, Fusion):
            module.chunked = True
    return net.requires_grad_(False)


def _fold(net: nn.Module, convolution: str, norm: str) -> None:
    """Folds a batch norm into a convolution, both given by their names in `net`."""
    conv, bn = net.get_submodule(convolution), net.get_submodule(norm)
    assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None and bn.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    parent, _, name = norm.rpartition(".")
    setattr(net.get_submodule(parent), name, _remainder(bn))


def _remainder(norm: nn.BatchNorm2d) -> nn.Module:
    """Returns what is left of a folded batch norm: nothing, or timm's dropout and activation."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))


def _is_foldable_norm(module: nn.Module) -> bool:
    """Returns whether the module is a batch norm with running statistics, torch's or timm's."""
    is_timm_norm = isinstance(module, nn.BatchNorm2d) and hasattr(module, "act")
    is_known = type(module) is nn.BatchNorm2d or is_timm_norm
    return is_known and getattr(module, "running_mean", None) is not None


def _foldable(net: nn.Module) -> dict[str, str]:
    """Returns the name of a convolution -> the name of the only module that reads its output, a BN.

    A forward pass on the meta device, which computes nothing, shows which module reads which
    output. The order of the attributes does not show this.
    """
    shadow = copy.deepcopy(net).to("meta")
    reads = _ReadCounter()
    pairs: dict[str, str] = {}
    runs: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def note_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            runs.append(name)
            reads.follow(name, output)

        def note_input(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            producer = reads.producers.get(id(inputs[0]))
            if producer is not None:
                pairs[producer] = name

        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note_output)
        elif _is_foldable_norm(module):
            module.register_forward_pre_hook(note_input)

    for name, module in shadow.named_modules():
        watch(name, module)
    with torch.no_grad(), reads:
        shadow(torch.empty(PROBE, device="meta"))
    return {convolution: norm for convolution, norm in pairs.items()
            if reads.count[convolution] == 1 and runs.count(convolution) == 1}


class _ReadCounter(TorchDispatchMode):
    """Counts how many operators read each output that it follows.

    Attributes:
        producers: id of an output -> name of the module that returned it.
        count: name of that module -> number of reads of its output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.producers: dict[int, str] = {}
        self.count: dict[str, int] = {}
        # Keeps the outputs alive, so that no id is reused.
        self._alive: list[Tensor] = []

    def follow(self, name: str, output: Tensor) -> None:
        self.producers[id(output)] = name
        self.count.setdefault(name, 0)
        self._alive.append(output)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for argument in tree_leaves((args, kwargs)):
            producer = self.producers.get(id(argument))
            if producer is not None:
                self.count[producer] += 1
        return func(*args, **(kwargs or {}))
