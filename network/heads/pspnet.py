"""PSPNet's decoder (Zhao et al., CVPR 2017, arXiv 1612.01105)."""
from __future__ import annotations

from torch import Tensor, nn

from network.context import PyramidPooling
from network.layers import auxiliary_classifier, conv_bn_relu

CHANNELS = 512
AUX_CHANNELS = 256


class PSPHead(nn.Module):
    """Pyramid pooling on the coarsest map and a classifier; the auxiliary one stands on the map before (stage 3).

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        num_classes: K.
        deep_supervision: adds the auxiliary classifier, used in training only.
    """

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, *, deep_supervision: bool = False) -> None:
        super().__init__()
        self.ppm = PyramidPooling(in_channels[-1], CHANNELS)
        self.conv_last = nn.Sequential(conv_bn_relu(CHANNELS, CHANNELS, 3), nn.Conv2d(CHANNELS, num_classes, 1))
        self.dsn = auxiliary_classifier(in_channels[-2], AUX_CHANNELS, num_classes) if deep_supervision else None

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps, fine to coarse -> logits `main` at the coarsest one's size; in training, with deep supervision, `aux0`
        at the size of the one before."""
        logits = {"main": self.conv_last(self.ppm(maps[-1]))}
        return logits | {"aux0": self.dsn(maps[-2])} if self.training and self.dsn else logits
