"""DeepLabV3+'s decoder (Chen et al., ECCV 2018, arXiv 1802.02611), as NVIDIA published it."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.context import AtrousPyramidPooling
from network.layers import auxiliary_classifier, conv_bn_relu, resize
from network.model import Head

# Width of the decoder, and of the finest map before the fusion (section 4.1 of the paper).
CHANNELS = 256
FINE_CHANNELS = 48


def double_conv_classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    """Returns two 3x3 conv-BN-ReLU and a 1x1 convolution without bias.

    Shapes: (N, in_channels, H, W) -> (N, K, H, W).
    """
    return nn.Sequential(
        *conv_bn_relu(in_channels, CHANNELS, 3),
        *conv_bn_relu(CHANNELS, CHANNELS, 3),
        nn.Conv2d(CHANNELS, num_classes, 1, bias=False),
    )


class DeepLabV3PlusHead(Head):
    """Atrous pyramid pooling on the coarsest map, upsampled and fused with the finest map.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier on the second-coarsest map, as in PSPNet.
    """

    classifiers = ("final", "dsn")

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.aspp = AtrousPyramidPooling(in_channels[-1])
        self.bot_fine = nn.Conv2d(in_channels[0], FINE_CHANNELS, 1, bias=False)
        self.bot_aspp = nn.Conv2d(self.aspp.out_channels, CHANNELS, 1, bias=False)
        self.final = double_conv_classifier(FINE_CHANNELS + CHANNELS, num_classes)
        self.dsn: nn.Sequential | None = None
        if deep_supervision:
            self.dsn = auxiliary_classifier(in_channels[-2], CHANNELS, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main` (N, K, H_0, W_0); in training mode with deep supervision also `aux0`, at the
            size of the second-coarsest map.
        """
        fine = self.bot_fine(maps[0])
        upsampled = resize(self.bot_aspp(self.aspp(maps[-1])), fine.shape[-2:])
        logits = {"main": self.final(torch.cat([fine, upsampled], dim=1))}
        if self.training and self.dsn:
            logits["aux0"] = self.dsn(maps[-2])
        return logits
