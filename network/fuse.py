"""A network as it runs when it is trained: batch normalization folded into convolutions, training's heads left out."""
from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from network.layers import Fusion
from network.model import TRAINING_ONLY

PROBE = (2, 3, 64, 64)                                      # images that every network here accepts


def fuse_for_inference(net: nn.Module) -> nn.Module:
    """Returns a copy of the network, in evaluation mode, that computes the same with less.

    Each batch normalization that alone reads a convolution's output is folded into that convolution, and the heads
    that only training uses are gone. The logits are the same but for float32 rounding; it cannot be trained any more.
    """
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        for name in TRAINING_ONLY:
            if isinstance(getattr(module, name, None), nn.Module):
                setattr(module, name, None)
    for convolution, norm in _foldable(net).items():
        conv, bn = net.get_submodule(convolution), net.get_submodule(norm)
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        assert bn.running_mean is not None and bn.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        parent, _, name = norm.rpartition(".")
        setattr(net.get_submodule(parent), name, _remainder(bn))
    for module in net.modules():
        if isinstance(module, Fusion):
            module.chunked = True
    return net.requires_grad_(False)


def _remainder(norm: nn.BatchNorm2d) -> nn.Module:
    """Returns what a normalization does besides: nothing, or the activation that timm puts into it."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))


def _is_norm(module: nn.Module) -> bool:
    """Whether it is a batch normalization with statistics of its own, plain or followed by timm's activation."""
    known = type(module) is nn.BatchNorm2d or (isinstance(module, nn.BatchNorm2d) and hasattr(module, "act"))
    return known and getattr(module, "running_mean", None) is not None


def _foldable(net: nn.Module) -> dict[str, str]:
    """Returns, by name, each convolution with the normalization that is the only reader of its output.

    Found by a pass on the meta device, which computes nothing: which module follows which is the network's to decide.
    """
    shadow = copy.deepcopy(net).to("meta")
    reads = _Reads()
    pairs: dict[str, str] = {}
    runs: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def made(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            runs.append(name)
            reads.follow(name, output)

        def taken(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if (maker := reads.makers.get(id(inputs[0]))) is not None:
                pairs[maker] = name

        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(made)
        elif _is_norm(module):
            module.register_forward_pre_hook(taken)

    for name, module in shadow.named_modules():
        watch(name, module)
    with torch.no_grad(), reads:
        shadow(torch.empty(PROBE, device="meta"))
    return {maker: norm for maker, norm in pairs.items() if reads.count[maker] == 1 and runs.count(maker) == 1}


class _Reads(TorchDispatchMode):
    """Counts, for each output that it follows, how many operators read it.

    Attributes:
        makers: id of an output -> name of its maker.
        count: name of a maker -> reads of its output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.makers: dict[int, str] = {}
        self.count: dict[str, int] = {}
        self._alive: list[Tensor] = []                      # so that no id is given twice

    def follow(self, name: str, output: Tensor) -> None:
        self.makers[id(output)] = name
        self.count.setdefault(name, 0)
        self._alive.append(output)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for argument in tree_leaves((args, kwargs)):
            if (maker := self.makers.get(id(argument))) is not None:
                self.count[maker] += 1
        return func(*args, **(kwargs or {}))
