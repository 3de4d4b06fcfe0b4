"""DecoupleSegNets' decoder (Li et al., ECCV 2020, arXiv 2007.10035): supervised body and edge."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.alignment import warp
from network.context import AtrousPyramidPooling
from network.heads.deeplab import CHANNELS, FINE_CHANNELS, double_conv_classifier
from network.layers import conv_bn_relu, resize
from network.model import Head


class SqueezeBodyEdge(nn.Module):
    """Splits a map into its body, which is smoothed by a flow, and the remaining edge.

    With the map F and a flow computed from F and a downsampled F,

        body = warp(F, flow),    edge = F - body.

    Shapes: (N, C, H, W) -> body and edge, each (N, C, H, W).
    Source: arXiv 2007.10035, section 3.
    """

    # The minimal height and width of the map: 7 -> 3 -> 1 by two halvings without padding.
    min_size = 7

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.down = nn.Sequential(*_halving(channels), *_halving(channels))
        self.flow_make = nn.Conv2d(2 * channels, 2, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns body and edge.

        Raises:
            ValueError: a side of the map is below 7 pixels, as for an image of less than 49 pixels
                at stride 8.
        """
        size = features.shape[-2:]
        if min(size) < self.min_size:
            raise ValueError("DecoupleSegNets halves its map twice without padding, and "
                             f"{size[0]}x{size[1]} is too small for that: use images of at least "
                             "49x49 pixels")
        upsampled = resize(self.down(features), size)
        flow = self.flow_make(torch.cat([features, upsampled], dim=1))
        # Published without aligned corners, unlike SFNet.
        body = warp(features, flow, align_corners=False)
        return body, features - body


class DecoupleHead(Head):
    """Atrous pyramid pooling, split into body and edge; the edge is fused with the finest map.

    With the pooled map F, its body and edge, and the finest map L,

        edge' = conv1x1(cat(resize(edge), conv1x1(L))),
        main = classifier(cat(resize(F), edge' + resize(body))).

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: must be False: body and edge are the supervision of this network.

    Raises:
        ValueError: `deep_supervision` is True.
    """

    classifiers = ("final_seg", "dsn_seg_body")
    auxiliary = ()
    training_only = ("dsn_seg_body", "edge_out")
    has_body_edge_outputs = True

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        if deep_supervision:
            raise ValueError("DecoupleSegNets has no auxiliary classifiers, because its body and "
                             "edge outputs are supervised: pass deep_supervision=False")
        # The attribute names are the published checkpoints' keys.
        self.aspp = AtrousPyramidPooling(in_channels[-1])
        self.bot_fine = nn.Conv2d(in_channels[0], FINE_CHANNELS, 1, bias=False)
        self.bot_aspp = nn.Conv2d(self.aspp.out_channels, CHANNELS, 1, bias=False)
        self.squeeze_body_edge = SqueezeBodyEdge(CHANNELS)
        self.edge_fusion = nn.Conv2d(CHANNELS + FINE_CHANNELS, CHANNELS, 1, bias=False)
        self.edge_out = nn.Sequential(
            *conv_bn_relu(CHANNELS, FINE_CHANNELS, 3),
            nn.Conv2d(FINE_CHANNELS, 1, 1, bias=False),
        )
        self.dsn_seg_body = nn.Sequential(
            *conv_bn_relu(CHANNELS, CHANNELS, 3),
            nn.Conv2d(CHANNELS, num_classes, 1, bias=False),
        )
        self.final_seg = double_conv_classifier(2 * CHANNELS, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main` (N, K, H_0, W_0); in training mode also `body`, (N, K, h, w) at the size of the
            coarsest map, and `edge`, (N, 1, H_0, W_0), the logits of a pixel being at an edge.
        """
        size = maps[0].shape[-2:]
        pooled = self.bot_aspp(self.aspp(maps[-1]))
        body, edge = self.squeeze_body_edge(pooled)
        edge = self.edge_fusion(torch.cat([resize(edge, size), self.bot_fine(maps[0])], dim=1))
        fused = torch.cat([resize(pooled, size), edge + resize(body, size)], dim=1)
        logits = {"main": self.final_seg(fused)}
        if self.training:
            logits["body"] = self.dsn_seg_body(body)
            logits["edge"] = self.edge_out(edge)
        return logits


def _halving(channels: int) -> nn.Sequential:
    """Returns a depthwise convolution of stride 2, BN and ReLU: H -> (H - 1) // 2."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
