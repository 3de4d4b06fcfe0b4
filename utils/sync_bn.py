"""Batch normalization over all processes' batches: torch's on GPUs, and an exact one for CPUs, which torch lacks."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Extra = tuple[str, ...]
AFTER: Extra = ("drop", "act")                              # what timm's fused layers do after the normalization


def convert(net: nn.Module, device: torch.device) -> nn.Module:
    """Replaces every batch normalization of the network, in place, by one over all processes; parameters stay the same.

    Raises:
        ValueError: the network is itself a batch normalization.
    """
    if isinstance(net, _BatchNorm):
        raise ValueError("a lone batch normalization has no parent to be replaced in")
    kind = nn.SyncBatchNorm if device.type == "cuda" else CPUSyncBatchNorm
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _converted(child, kind))
    return net


def _converted(norm: _BatchNorm, kind: type[_BatchNorm]) -> nn.Module:
    new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new._parameters, new._buffers, new.training = norm._parameters, norm._buffers, norm.training
    after = {name: module for name, module in norm.named_children() if name in AFTER}
    if not after:
        return new
    for name, module in after.items():
        new.add_module(name, module)
    new.register_forward_hook(_apply_after)
    return new


def _apply_after(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    for name in AFTER:
        output = getattr(norm, name, nn.Identity())(output)
    return output


class CPUSyncBatchNorm(_BatchNorm):
    """Batch normalization of (N, C, ...) whose mean and variance are those of all processes' batches together."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(input)
        self._check_input_dim(input)
        mean, variance, count = _global_moments(input.detach())
        if self.track_running_stats:
            self._update_running(mean, variance, count)
        return _Normalize.apply(input, self.weight, self.bias, mean, variance, count, self.eps)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def _global_moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, C, ...) -> mean (C,), biased variance (C,) and count (1,) over all processes, in float64.

    Each process's deviations are from its own mean, and the means' from the global one (Chan et al. 1979): no small
    difference of large sums.
    """
    axes = [axis for axis in range(values.ndim) if axis != 1]
    variance, mean = torch.var_mean(_wide(values), axes, correction=0)
    count = torch.tensor([values.numel() // values.shape[1]], dtype=torch.float64)
    mine = torch.cat([mean.double(), variance.double(), count])
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    table = torch.stack(every)                              # (processes, 2 C + 1)
    channels = values.shape[1]
    means, variances, counts = table[:, :channels], table[:, channels:-1], table[:, -1:]
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    return mean, ((variances + (means - mean) ** 2) * counts).sum(0) / total, total


def _wide(values: Tensor) -> Tensor:
    """At least float32: half precision cannot hold sums over a batch."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance depend on every process's x."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor,
                count: Tensor, eps: float) -> Tensor:
        wide = _wide(values).dtype
        ctx.save_for_backward(values, weight, mean.to(wide), (variance + eps).rsqrt().to(wide), count)
        ctx.has_bias = bias is not None
        return F.batch_norm(values, mean.to(wide), variance.to(wide), weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, count = ctx.saved_tensors
        shape = (1, -1, *[1] * (values.ndim - 2))
        axes = [axis for axis in range(values.ndim) if axis != 1]
        grad = _wide(grads[0])
        normal = (_wide(values) - mean.view(shape)) * scale.view(shape)
        own = torch.cat([grad.sum(axes), (grad * normal).sum(axes)])
        sums = own.to(torch.float64, copy=True)
        dist.all_reduce(sums)
        of_grad, of_product = (sums / count).to(grad.dtype).chunk(2)
        factor = scale if weight is None else scale * weight
        back = (grad - of_grad.view(shape) - normal * of_product.view(shape)) * factor.view(shape)
        grad_bias, grad_weight = own.chunk(2)               # this process's: DDP averages the parameters' gradients
        return (back.to(values.dtype), None if weight is None else grad_weight, grad_bias if ctx.has_bias else None,
                None, None, None, None)
