"""DecoupleSegNets' decoder (Li et al., ECCV 2020, arXiv 2007.10035): a scene's bodies and edges, supervised apart."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.alignment import warp
from network.context import AtrousPyramidPooling
from network.heads.deeplab import CHANNELS, FINE_CHANNELS, double_conv_classifier
from network.layers import conv_bn_relu, resize


class SqueezeBodyEdge(nn.Module):
    """Body generation by flow: (N, C, H, W) -> the body, a smoothed map, and the edge, what it lacks, of that shape.

    Source: arXiv 2007.10035.
    """

    smallest = 7                                            # a side that two unpadded halvings leave something of

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.down = nn.Sequential(*_halving(channels), *_halving(channels))
        self.flow_make = nn.Conv2d(2 * channels, 2, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Raises ValueError for a map with a side below 7, that of an image below 49 pixels at stride 8."""
        if min(features.shape[-2:]) < self.smallest:
            raise ValueError(f"DecoupleSegNets halves its map twice without padding, and {features.shape[-2]}x"
                             f"{features.shape[-1]} is too small for that: use images of at least 49x49 pixels")
        raised = resize(self.down(features), features.shape[-2:])
        flow = self.flow_make(torch.cat([features, raised], dim=1))
        body = warp(features, flow, align_corners=False)    # as published, unlike SFNet's
        return body, features - body


class DecoupleHead(nn.Module):
    """Atrous pyramid pooling, parted into body and edge; the edge is sharpened by the finest map.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: refused: body and edge are this network's supervision, and always there in training.

    Raises:
        ValueError: `deep_supervision` is asked for.
    """

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *, deep_supervision: bool = False) -> None:
        super().__init__()
        if deep_supervision:
            raise ValueError("DecoupleSegNets has no auxiliary classifiers: it trains on its body and edge instead. "
                             "Leave deep supervision out (--no_fpn_dsn_loss).")
        # The attribute names are the published checkpoints' keys.
        self.aspp = AtrousPyramidPooling(in_channels[-1])
        self.bot_fine = nn.Conv2d(in_channels[0], FINE_CHANNELS, 1, bias=False)
        self.bot_aspp = nn.Conv2d(self.aspp.out_channels, CHANNELS, 1, bias=False)
        self.squeeze_body_edge = SqueezeBodyEdge(CHANNELS)
        self.edge_fusion = nn.Conv2d(CHANNELS + FINE_CHANNELS, CHANNELS, 1, bias=False)
        self.edge_out = nn.Sequential(
            *conv_bn_relu(CHANNELS, FINE_CHANNELS, 3), nn.Conv2d(FINE_CHANNELS, 1, 1, bias=False))
        self.dsn_seg_body = nn.Sequential(
            *conv_bn_relu(CHANNELS, CHANNELS, 3), nn.Conv2d(CHANNELS, num_classes, 1, bias=False))
        self.final_seg = double_conv_classifier(2 * CHANNELS, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps, fine to coarse -> logits `main` at the finest map's size; in training mode also `body` (N, K, h, w) at
        the coarsest map's size and `edge` (N, 1, H, W), the logits of being an edge."""
        size = maps[0].shape[-2:]
        pooled = self.bot_aspp(self.aspp(maps[-1]))
        body, edge = self.squeeze_body_edge(pooled)
        edge = self.edge_fusion(torch.cat([resize(edge, size), self.bot_fine(maps[0])], dim=1))
        fused = torch.cat([resize(pooled, size), edge + resize(body, size)], dim=1)
        logits = {"main": self.final_seg(fused)}
        if self.training:
            logits |= {"body": self.dsn_seg_body(body), "edge": self.edge_out(edge)}
        return logits


def _halving(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, stride=2, groups=channels), nn.BatchNorm2d(channels),
                         nn.ReLU(inplace=True))
