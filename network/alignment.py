"""Semantic flow: bringing a coarse feature map onto a fine grid (SFNet, arXiv 2002.10120, section 3)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import resize


def warp(features: Tensor, flow: Tensor, align_corners: bool = True) -> Tensor:
    """Samples features where the flow points (SFNet, arXiv 2002.10120, "Flow Alignment Module", warp equation).

    Args:
        features: (N, C, h, w), of any resolution.
        flow: (N, 2, H, W), x then y. Two units are about one pixel of the (H, W) grid.
        align_corners: whether -1 and 1 are the centers of the outermost pixels, or their outer edges.

    Returns:
        (N, C, H, W); with zero flow, plain bilinear resizing with aligned corners. Zeros are sampled from outside.
    """
    height, width = flow.shape[-2:]
    # A half-precision grid is off by half a pixel at width 512. (`promote_types` would be a node of an exported graph.)
    dtype = torch.float64 if flow.dtype == torch.float64 else torch.float32
    flow = flow.to(dtype)
    # A tracer must see how the grid depends on the size.
    grid = (_make_grid if torch.compiler.is_compiling() or type(flow) is not Tensor else _cached_grid)(
        height, width, flow.device, dtype)
    offset = torch.stack([flow[:, 0] / width, flow[:, 1] / height], dim=-1)     # (N, H, W, 2)
    return F.grid_sample(features.to(dtype), grid + offset, align_corners=align_corners).to(features.dtype)


def _make_grid(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns (H, W, 2), x then y: the places of a map's pixels in `grid_sample`'s unit."""
    with torch.inference_mode(False):                       # one that is kept may serve a training step later
        # Not `linspace`, whose count an exporter makes a constant; this is exact at both ends as well.
        places = (torch.arange(side, device=device, dtype=dtype) for side in (height, width))
        ys, xs = (2 * place / place[-1].clamp(min=1) - 1 for place in places)
        return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)


_cached_grid = lru_cache(maxsize=16)(_make_grid)


class BilinearUpsample(nn.Module):
    """Brings a coarse map onto a fine grid without looking at it: what a pyramid does where it has no alignment."""

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return resize(coarse, fine.shape[-2:])


class FlowAlignment(nn.Module):
    """The Flow Alignment Module: coarse (N, C, h, w), fine (N, C, H, W) -> coarse on the fine grid, (N, C, H, W).

    Source: SFNet, arXiv 2002.10120, section 3, "Flow Alignment Module".

    Args:
        channels: C of both maps.
        flow_channels: width of the two projections from which the flow is made.
    """

    flow_maps = 2                                           # channels of the flow: x and y for the coarse map

    def __init__(self, channels: int, flow_channels: int) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.down_h = nn.Conv2d(channels, flow_channels, 1, bias=False)       # coarse level, high in semantics
        self.down_l = nn.Conv2d(channels, flow_channels, 1, bias=False)       # fine level, low in semantics
        self.flow_make = nn.Conv2d(2 * flow_channels, self.flow_maps, 3, padding=1, bias=False)

    def flow(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Returns the semantic flow (N, 2, H, W), x then y, in `warp`'s unit."""
        return self._flow(resize(self.down_h(coarse), fine.shape[-2:]), fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return warp(coarse, self.flow(coarse, fine))

    def _flow(self, raised: Tensor, fine: Tensor) -> Tensor:
        return self.flow_make(torch.cat([raised, self.down_l(fine)], dim=1))


class GatedDualFlowAlignment(FlowAlignment):
    """The gated dual flow alignment module (GD-FAM): coarse (N, C, h, w), fine (N, C, H, W) -> one map (N, C, H, W).

    The flow has four channels: the first two move the coarse map, the last two the fine one; a gate weighs them.
    Source: SFNet-Lite, arXiv 2207.04415.
    """

    flow_maps = 4

    def __init__(self, channels: int, flow_channels: int) -> None:
        super().__init__(channels, flow_channels)
        self.flow_gate = nn.Sequential(nn.Conv2d(4, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        raised = resize(self.down_h(coarse), fine.shape[-2:])
        flow_coarse, flow_fine = self._flow(raised, fine).split(2, dim=1)
        views = [raised.mean(1, keepdim=True), fine.mean(1, keepdim=True),
                 raised.amax(1, keepdim=True), fine.amax(1, keepdim=True)]
        gate = self.flow_gate(torch.cat(views, dim=1))      # (N, 1, H, W)
        return gate * warp(coarse, flow_coarse) + (1 - gate) * warp(fine, flow_fine)


@contextmanager
def recorded_flows(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Gives a dict that each forward pass fills: name of a flow alignment -> its semantic flow (N, 2 or 4, H, W).

    Float32, in `warp`'s unit; four maps are the coarse map's x and y, then the fine one's. Empty for a network without
    flow alignment. A compiled network runs eagerly meanwhile, because hooks are not seen by compiled code.
    """
    flows: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], flow: Tensor) -> None:
            flows[name] = flow.detach().float()
        return record

    hooks = [module.flow_make.register_forward_hook(recorder(name)) for name, module in net.named_modules()
             if isinstance(module, FlowAlignment)]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield flows
    finally:
        for hook in hooks:
            hook.remove()
