"""PSPNet's decoder (Zhao et al., CVPR 2017, arXiv 1612.01105)."""
from __future__ import annotations

from torch import Tensor, nn

from network.context import PyramidPooling
from network.layers import auxiliary_classifier, conv_bn_relu
from network.model import Head

# Width of the pooled pyramid, and of the auxiliary classifier.
CHANNELS = 512
AUX_CHANNELS = 256


class PSPHead(Head):
    """Pyramid pooling on the coarsest map, and a classifier.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier on the second-coarsest map (stage 3).
    """

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        self.ppm = PyramidPooling(in_channels[-1], CHANNELS)
        self.conv_last = nn.Sequential(
            conv_bn_relu(CHANNELS, CHANNELS, 3), nn.Conv2d(CHANNELS, num_classes, 1))
        self.dsn: nn.Sequential | None = None
        if deep_supervision:
            self.dsn = auxiliary_classifier(in_channels[-2], AUX_CHANNELS, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main`, (N, K, h, w) at the size of the coarsest map; in training mode with deep
            supervision also `aux0`, at the size of the second-coarsest map.
        """
        logits = {"main": self.conv_last(self.ppm(maps[-1]))}
        if self.training and self.dsn:
            logits["aux0"] = self.dsn(maps[-2])
        return logits
