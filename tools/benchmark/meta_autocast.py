"""Half precision for tensors without memory: the meta device has no autocast of its own."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from utils.precision import PRECISIONS

# what CUDA's autocast computes in half precision, and in float32, of what the networks call
# (pytorch.org/docs/stable/amp.html, "CUDA Ops that can autocast to ..."); not `@`, with which the
# criteria resize rows in float32
IN_HALF = {torch.conv1d, torch.conv2d, torch.conv_transpose2d, F.linear, torch.matmul, torch.bmm,
           torch.addmm, Tensor.matmul, F.scaled_dot_product_attention}
IN_FLOAT32 = {torch.layer_norm, torch.group_norm, F.layer_norm, F.group_norm, torch.softmax,
              Tensor.softmax, F.softmax, torch.log_softmax, Tensor.log_softmax, F.log_softmax}


class MetaAutocast(TorchFunctionMode):
    """Casts the inputs of convolutions and products as CUDA's autocast does.

    Args:
        dtype: of the products, bfloat16 or float16.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        target = self.dtype if func in IN_HALF else torch.float32 if func in IN_FLOAT32 else None
        if target is None:
            return func(*args, **(kwargs or {}))

        def cast(value: Any) -> Any:
            is_cast = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(target) if is_cast else value

        return func(*tree_map(cast, args), **tree_map(cast, kwargs or {}))


def meta_autocast(precision: str) -> AbstractContextManager[object]:
    """Returns the context of a precision ("fp32", "bf16" or "fp16") for the meta device."""
    return nullcontext() if precision == "fp32" else MetaAutocast(PRECISIONS[precision])
