"""CUDA tensors without a GPU: they have a shape, a type and a device, and no values.

    with simulated_cuda() as cuda:
        images = torch.zeros(2, 3, 64, 64, device="cuda")
        images + torch.zeros(3, 1, 1)       # raises: the second tensor is on the CPU
        images.sum().item()                 # 0, and one entry of cuda.waits

Tensors on the CPU alone compute as usual. There is no backward pass, which needs a real device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
# the size of their result, or their result itself, is a value that the host reads
READS_VALUES = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount,
    aten._unique2, aten.unique_dim, aten.unique_consecutive,
}
COPIES = {aten._to_copy, aten.copy_}
# in place, and unknown to tensors without values
IN_PLACE = {aten._amp_foreach_non_finite_check_and_unscale_, aten._amp_update_scale_}


class SimulatedCuda(FakeTensorMode):
    """While entered, by `simulated_cuda`, tensors may be built on `cuda`.

    An operator on tensors of the CPU and of the GPU raises, as on a GPU. What the host reads from
    the GPU is 0.

    Attributes:
        waits: the operators for which the host would wait for the GPU, in order.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        if not on_gpu and not _is_cuda(kwargs.get("device")):
            return func(*args, **kwargs)
        if waits(func, args, kwargs):
            self.waits.append(str(func))
        packet = func.overloadpacket
        if packet is aten._local_scalar_dense:
            return torch.zeros((), dtype=args[0].dtype).item()
        if packet is aten.bincount:
            minlength = kwargs.get("minlength", args[2] if len(args) > 2 else 0)
            return args[0].new_empty(minlength, dtype=torch.int64)
        if packet in IN_PLACE:
            return args[0] if func._schema.returns else None
        if packet is aten.copy_ and not isinstance(args[0], FakeTensor):
            return args[0].zero_()
        target = kwargs.get("device") or args[0].device if packet is aten._to_copy else None
        if target is not None and torch.device(target).type == "cpu":
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        args, kwargs = tree_map(self._without_values, (args, kwargs))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _without_values(self, leaf: Any) -> Any:
        """Returns a tensor of the CPU as one that has no values; numbers as they are."""
        is_real = isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor)
        if not is_real or leaf.ndim == 0:
            return leaf
        empty = torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")
        return FakeTensor(self, empty, leaf.device)


@contextmanager
def simulated_cuda() -> Iterator[SimulatedCuda]:
    """Makes CUDA tensors possible, also in modules, under autocast and for a gradient scaler.

    Skips the test on a torch before 2.7 that is built for CUDA, without a driver: it asks for the
    driver when a layer is initialized.
    """
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < (2, 7) and torch.version.cuda and not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} simulates no GPU without a driver")
    patches = {
        # parameters of another kind of tensor cannot be exchanged in place
        "torch.nn.Module._apply": _apply,
        # autocast and the gradient scaler switch themselves off without a GPU
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
        "torch.cuda.is_bf16_supported": lambda *args, **kwargs: True,
    }
    with ExitStack() as stack:
        # torch 2.14 asks cuDNN, which is not there, how `grid_sample` is to be computed
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        for name, value in patches.items():
            stack.enter_context(mock.patch(name, value))
        yield stack.enter_context(SimulatedCuda())


def waits(func: Any, args: Any, kwargs: Any) -> bool:
    """Returns whether the host waits for the device in an operator on tensors of a device."""
    packet = func.overloadpacket
    if packet in COPIES:
        return _is_waiting_copy(packet, args, kwargs)
    if packet in (aten.index, aten.index_put, aten.index_put_):
        is_fill = packet is not aten.index and args[2].numel() == 1
        has_mask = any(index is not None and index.dtype == torch.bool for index in args[1])
        return has_mask and not is_fill
    return packet in READS_VALUES


def _is_waiting_copy(packet: Any, args: Any, kwargs: Any) -> bool:
    """Returns whether a copy is one between the CPU and a device, for which the host waits."""
    if packet is aten.copy_:
        target, source = args[0].device, args[1]
        non_blocking = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
    else:
        source, non_blocking = args[0], kwargs.get("non_blocking", False)
        target = torch.device(kwargs.get("device") or source.device)
    if (target.type == "cpu") == (source.device.type == "cpu"):
        return False
    # a copy to the host is waited for before its values are used
    return target.type == "cpu" or not non_blocking


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _apply(module: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
    """Replaces the parameters and buffers of a module by those that `fn` returns."""
    for child in module.children():
        _apply(child, fn)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            changed = nn.Parameter(fn(parameter.detach()), parameter.requires_grad)
            module._parameters[name] = changed
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = fn(buffer)
    return module
