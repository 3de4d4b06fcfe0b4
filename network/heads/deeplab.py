"""DeepLabV3+'s decoder (Chen et al., ECCV 2018, arXiv 1802.02611), as its published segmentation networks have it."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.context import AtrousPyramidPooling
from network.layers import auxiliary_classifier, conv_bn_relu, resize

CHANNELS = 256
FINE_CHANNELS = 48


def double_conv_classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    """Two 3x3 conv-BN-ReLU and a 1x1 convolution without bias: (N, in_channels, H, W) -> (N, K, H, W)."""
    return nn.Sequential(*conv_bn_relu(in_channels, CHANNELS, 3), *conv_bn_relu(CHANNELS, CHANNELS, 3),
                         nn.Conv2d(CHANNELS, num_classes, 1, bias=False))


class DeepLabV3PlusHead(nn.Module):
    """Atrous pyramid pooling on the coarsest map, raised to the finest and fused with it.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier on the last map but one, as PSPNet's, used in training only.
    """

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *, deep_supervision: bool = False) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.aspp = AtrousPyramidPooling(in_channels[-1])
        self.bot_fine = nn.Conv2d(in_channels[0], FINE_CHANNELS, 1, bias=False)
        self.bot_aspp = nn.Conv2d(self.aspp.out_channels, CHANNELS, 1, bias=False)
        self.final = double_conv_classifier(FINE_CHANNELS + CHANNELS, num_classes)
        self.dsn = auxiliary_classifier(in_channels[-2], CHANNELS, num_classes) if deep_supervision else None

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps, fine to coarse -> logits `main` at the finest map's size; in training with deep supervision `aux0`."""
        fine = self.bot_fine(maps[0])
        raised = resize(self.bot_aspp(self.aspp(maps[-1])), fine.shape[-2:])
        logits = {"main": self.final(torch.cat([fine, raised], dim=1))}
        return logits | {"aux0": self.dsn(maps[-2])} if self.training and self.dsn else logits
