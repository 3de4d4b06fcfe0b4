"""Semantic flow: bringing a coarse feature map onto a fine grid (SFNet, arXiv 2002.10120, section 3)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import resize


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Samples features where the flow points (SFNet, arXiv 2002.10120, "Flow Alignment Module", warp equation).

    Args:
        features: (N, C, h, w), of any resolution.
        flow: (N, 2, H, W), x then y. Two units are about one pixel of the (H, W) grid.

    Returns:
        (N, C, H, W); with zero flow, plain bilinear resizing with aligned corners. Zeros are sampled from outside.
    """
    height, width = flow.shape[-2:]
    dtype = torch.promote_types(flow.dtype, torch.float32)  # a half-precision grid is off by half a pixel at width 512
    flow = flow.to(dtype)
    ys, xs = (torch.linspace(-1, 1, side, device=flow.device, dtype=dtype) for side in (height, width))
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)           # (H, W, 2)
    offset = torch.stack([flow[:, 0] / width, flow[:, 1] / height], dim=-1)     # (N, H, W, 2)
    return F.grid_sample(features.to(dtype), grid + offset, align_corners=True).to(features.dtype)


class FlowAlignment(nn.Module):
    """The Flow Alignment Module: coarse (N, C, h, w), fine (N, C, H, W) -> coarse on the fine grid, (N, C, H, W).

    Source: SFNet, arXiv 2002.10120, section 3, "Flow Alignment Module".

    Args:
        channels: C of both maps.
        flow_channels: width of the two projections from which the flow is made.
    """

    def __init__(self, channels: int, flow_channels: int) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.down_h = nn.Conv2d(channels, flow_channels, 1, bias=False)       # coarse level, high in semantics
        self.down_l = nn.Conv2d(channels, flow_channels, 1, bias=False)       # fine level, low in semantics
        self.flow_make = nn.Conv2d(2 * flow_channels, 2, 3, padding=1, bias=False)

    def flow(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Returns the semantic flow (N, 2, H, W), x then y, in `warp`'s unit."""
        raised = resize(self.down_h(coarse), fine.shape[-2:])
        return self.flow_make(torch.cat([raised, self.down_l(fine)], dim=1))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return warp(coarse, self.flow(coarse, fine))
