"""Semantic flow: aligning a coarse feature map with a fine one (SFNet, arXiv 2002.10120)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import resize

# In every module that computes a flow, the attribute that holds the flow's convolution. Its output
# is a position, not a feature: quantization to 8 bits keeps this layer in floating point.
FLOW_CONVOLUTION = "flow_make"


def warp(features: Tensor, flow: Tensor, align_corners: bool = True) -> Tensor:
    """Samples `features` at the positions that `flow` points to (arXiv 2002.10120, section 3).

    Output pixel (x, y) of the (H, W) grid reads the input at

        g(x, y) + (flow_x / W, flow_y / H),    g(x, y) = (2 x / (W - 1) - 1, 2 y / (H - 1) - 1),

    in the coordinates of `grid_sample`, where the image spans -1 to 1. It is the bilinear sum of
    the four nearest pixels,

        out(p) = sum over the neighbors q of w_q features(q),

    and a neighbor outside of the image counts as 0. With aligned corners, -1 and 1 are the
    *centers* of the outermost pixels, so that g at zero flow is exactly `resize`, the resizing
    with aligned corners that the alignment replaces. SFNet was trained with that choice.
    DecoupleSegNets was trained without it: -1 and 1 are then the outer *edges* of these pixels,
    while g stays the same, so that zero flow moves the border by half a pixel.

    Args:
        features: (N, C, h, w), any resolution.
        flow: (N, 2, H, W), x then y. A shift by one pixel of the (H, W) grid is 2 W / (W - 1)
            units in x and 2 H / (H - 1) in y, about 2.
        align_corners: as in `grid_sample`.

    Returns:
        (N, C, H, W), of the dtype of `features`.
    """
    height, width = flow.shape[-2:]
    # bfloat16 has 8 significant bits: near 1 its step is 2^-8, which is a whole pixel at width 512.
    # (`promote_types` would become a node of an exported graph.)
    dtype = torch.float64 if flow.dtype == torch.float64 else torch.float32
    flow = flow.to(dtype)
    # A tracer has to see how the grid depends on the size.
    is_traced = torch.compiler.is_compiling() or type(flow) is not Tensor
    if is_traced:
        make_grid = _make_grid
    else:
        make_grid = _captured_grid if _is_captured(flow) else _cached_grid
    grid = make_grid(height, width, flow.device, dtype)                     # (H, W, 2)
    offset = torch.stack([flow[:, 0] / width, flow[:, 1] / height], dim=-1)  # (N, H, W, 2)
    sampled = F.grid_sample(features.to(dtype), grid + offset, align_corners=align_corners)
    return sampled.to(features.dtype)


def _make_grid(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns (H, W, 2), x then y: the pixels' centers, the outermost ones at -1 and 1."""
    # A grid that is cached during inference may be used by a training step later.
    with torch.inference_mode(False):
        # Not `linspace`: an exporter makes its count a constant. This is exact at both ends too.
        rows = torch.arange(height, device=device, dtype=dtype)
        columns = torch.arange(width, device=device, dtype=dtype)
        # A side of one pixel has its only center at -1.
        ys = 2 * rows / rows[-1].clamp(min=1) - 1
        xs = 2 * columns / columns[-1].clamp(min=1) - 1
        return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)


def _is_captured(tensor: Tensor) -> bool:
    """Returns whether a CUDA graph records what is computed from the tensor."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


_cached_grid = lru_cache(maxsize=16)(_make_grid)
# A CUDA graph reads a grid at its address whenever it is replayed: these grids are never freed.
_captured_grid = lru_cache(maxsize=None)(_cached_grid)


class BilinearUpsample(nn.Module):
    """Resizes a coarse map to the size of a fine one: a pyramid without flow alignment.

    Shapes: coarse (N, C, h, w), fine (N, C, H, W) -> (N, C, H, W).
    """

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return resize(coarse, fine.shape[-2:])


class FlowAlignment(nn.Module):
    """The Flow Alignment Module (FAM): warps a coarse map onto the grid of a fine one.

    With the coarse map F_l and the fine map F_(l-1),

        flow = conv3x3(cat(upsample(conv1x1(F_l)), conv1x1(F_(l-1)))),    out = warp(F_l, flow).

    Shapes: coarse (N, C, h, w), fine (N, C, H, W) -> (N, C, H, W).
    Source: SFNet, arXiv 2002.10120, section 3, "Flow Alignment Module".

    Args:
        channels: C of both maps.
        flow_channels: width of the two projections from which the flow is computed.

    Raises:
        ValueError: a subclass gives `num_flows` another value than 1 or 2.
    """

    # Flows that `flow_make` computes, of two channels (x, y) each: that of the coarse map.
    num_flows = 1

    def __init__(self, channels: int, flow_channels: int) -> None:
        super().__init__()
        if self.num_flows not in (1, 2):
            raise ValueError(f"{type(self).__name__}.num_flows is {self.num_flows}, but only the "
                             "coarse map and the fine map have a flow. Compute anything else, such "
                             "as a mask, by a convolution of its own")
        # The attribute names are the published checkpoints' keys.
        # `down_h` projects the coarse map, high in semantics; `down_l` the fine one, low in it.
        self.down_h = nn.Conv2d(channels, flow_channels, 1, bias=False)
        self.down_l = nn.Conv2d(channels, flow_channels, 1, bias=False)
        self.flow_make = nn.Conv2d(2 * flow_channels, 2 * self.num_flows, 3, padding=1, bias=False)

    def flow(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Returns the semantic flow (N, 2, H, W), x then y, in the unit of `warp`."""
        return self._flow(self._upsampled_projection(coarse, fine), fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return warp(coarse, self.flow(coarse, fine))

    def _upsampled_projection(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return resize(self.down_h(coarse), fine.shape[-2:])

    def _flow(self, upsampled: Tensor, fine: Tensor) -> Tensor:
        return self.flow_make(torch.cat([upsampled, self.down_l(fine)], dim=1))


class GatedDualFlowAlignment(FlowAlignment):
    """The gated dual flow alignment module (GD-FAM): warps and blends a coarse and a fine map.

    The flow has four channels. The first two move the coarse map F_l, the last two the fine map
    F_1, and a gate blends the results:

        out = gate * warp(F_l, flow_l) + (1 - gate) * warp(F_1, flow_1),
        gate = sigmoid(conv3x3(cat(mean(F_l'), mean(F_1), max(F_l'), max(F_1)))),

    where F_l' is the upsampled projection of F_l, and mean and max run over the channels.

    Shapes: coarse (N, C, h, w), fine (N, C, H, W) -> (N, C, H, W).
    Source: SFNet-Lite, arXiv 2207.04415, section 3.
    """

    num_flows = 2

    def __init__(self, channels: int, flow_channels: int) -> None:
        super().__init__(channels, flow_channels)
        self.flow_gate = nn.Sequential(nn.Conv2d(4, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        upsampled = self._upsampled_projection(coarse, fine)
        flow_coarse, flow_fine = self._flow(upsampled, fine).split(2, dim=1)
        statistics = [
            upsampled.mean(1, keepdim=True), fine.mean(1, keepdim=True),
            upsampled.amax(1, keepdim=True), fine.amax(1, keepdim=True),
        ]
        gate = self.flow_gate(torch.cat(statistics, dim=1))                 # (N, 1, H, W)
        return gate * warp(coarse, flow_coarse) + (1 - gate) * warp(fine, flow_fine)


@contextmanager
def recorded_flows(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Records the semantic flow of each flow alignment while the context is active.

    Yields a dict that each forward pass fills: name of a `FlowAlignment` -> its flow
    (N, 2 or 4, H, W), float32, in the unit of `warp`. Four channels are x and y of the coarse map,
    then x and y of the fine map. The dict stays empty for a network without flow alignment. A
    compiled network runs eagerly in the context, because compiled code does not call hooks.
    """
    flows: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], flow: Tensor) -> None:
            flows[name] = flow.detach().float()
        return record

    hooks = [module.flow_make.register_forward_hook(recorder(name))
             for name, module in net.named_modules() if isinstance(module, FlowAlignment)]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield flows
    finally:
        for hook in hooks:
            hook.remove()
