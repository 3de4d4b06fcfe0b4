"""Batch normalization over the batches of all processes: torch's on GPUs, and one for CPUs."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.resizing import at_least_float32

# names of the children of timm's fused layers that run after the normalization, in order
LAYERS_AFTER = ("drop", "act")


def convert(net: nn.Module, device: torch.device) -> nn.Module:
    """Replaces every batch normalization of the network, in place, by a synchronized one.

    Parameters, buffers and their names stay the same.

    Raises:
        ValueError: the network is itself a batch normalization.
    """
    if isinstance(net, _BatchNorm):
        raise ValueError("a lone batch normalization has no parent module to be replaced in")
    kind = nn.SyncBatchNorm if device.type == "cuda" else CPUSyncBatchNorm
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _converted(child, kind))
    return net


def _converted(norm: _BatchNorm, kind: type[_BatchNorm]) -> nn.Module:
    """Returns a normalization of another class with the same parameters, buffers and settings."""
    new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new._parameters, new._buffers, new.training = norm._parameters, norm._buffers, norm.training
    after = {name: module for name, module in norm.named_children() if name in LAYERS_AFTER}
    if not after:
        return new
    for name, module in after.items():
        new.add_module(name, module)
    new.register_forward_hook(_run_layers_after)
    return new


def _run_layers_after(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    for name in LAYERS_AFTER:
        output = getattr(norm, name, nn.Identity())(output)
    return output


class CPUSyncBatchNorm(_BatchNorm):
    """Batch normalization of (N, C, ...) with the mean and variance of all processes' batches."""

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
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # without a momentum, torch keeps the plain average over all batches
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def _global_moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean (C,), biased variance (C,) and count (1,) over all processes, in float64.

    The values are (N, C, ...); count is the number of values of a channel.

    With n_i, m_i and v_i of process i (Chan et al. 1979):

        mean = sum n_i m_i / n,    variance = sum n_i (v_i + (m_i - mean)^2) / n,

    which subtracts no large sums of nearly the same value.
    """
    axes = [axis for axis in range(values.ndim) if axis != 1]
    variance, mean = torch.var_mean(at_least_float32(values), axes, correction=0)
    channels = values.shape[1]
    count = torch.tensor([values.numel() // channels], dtype=torch.float64)
    local = torch.cat([mean.double(), variance.double(), count])
    gathered = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, local)
    # (processes, 2 C + 1)
    table = torch.stack(gathered)
    means, variances, counts = table[:, :channels], table[:, channels:-1], table[:, -1:]
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    return mean, ((variances + (means - mean) ** 2) * counts).sum(0) / total, total


class _Normalize(torch.autograd.Function):
    """y = z * weight + bias with z = (x - mean) / sqrt(variance + eps).

    Mean and variance depend on the x of every process. With g = dL/dy, and E the mean over all
    processes' values of a channel:

        dL/dx = weight / sqrt(variance + eps) * (g - E[g] - z E[g z]).
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
                variance: Tensor, count: Tensor, eps: float) -> Tensor:
        dtype = at_least_float32(values).dtype
        scale = (variance + eps).rsqrt().to(dtype)
        ctx.save_for_backward(values, weight, mean.to(dtype), scale, count)
        ctx.has_bias = bias is not None
        return F.batch_norm(values, mean.to(dtype), variance.to(dtype), weight, bias,
                            training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, count = ctx.saved_tensors
        shape = (1, -1, *[1] * (values.ndim - 2))
        axes = [axis for axis in range(values.ndim) if axis != 1]
        grad = at_least_float32(grads[0])
        z = (at_least_float32(values) - mean.view(shape)) * scale.view(shape)
        local = torch.cat([grad.sum(axes), (grad * z).sum(axes)])
        sums = local.to(torch.float64, copy=True)
        dist.all_reduce(sums)
        mean_grad, mean_product = (sums / count).to(grad.dtype).chunk(2)
        factor = scale if weight is None else scale * weight
        grad_values = grad - mean_grad.view(shape) - z * mean_product.view(shape)
        grad_values = (grad_values * factor.view(shape)).to(values.dtype)
        # this process's alone: DDP averages the gradients of parameters
        grad_bias, grad_weight = local.chunk(2)
        return (grad_values, None if weight is None else grad_weight,
                grad_bias if ctx.has_bias else None, None, None, None, None)
