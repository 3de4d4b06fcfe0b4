"""DFSegNet: a light decoder on DFNet (Li et al., CVPR 2019, arXiv 1903.03777)."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import auxiliary_classifier, conv_bn_relu, resize


class DFSegHead(nn.Module):
    """1x1 convolutions bring each map to one width; nodes then fuse them, coarse to fine: resize, add, 3x3 convolution.

    No file of this decoder is published; its width is that of SFNet's pyramid on the same backbone.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        channels: width of the decoder.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier at each fusion but the last, and on the coarsest map; used in
            training only.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        self.controllers = nn.ModuleList(conv_bn_relu(width, channels, 1) for width in in_channels)
        self.fusions = nn.ModuleList(conv_bn_relu(channels, channels, 3) for _ in in_channels[:-1])
        self.dsn = nn.ModuleList(
            auxiliary_classifier(channels, channels, num_classes) for _ in in_channels[:-1] if deep_supervision)
        self.conv_last = nn.Sequential(conv_bn_relu(channels, channels, 3), nn.Conv2d(channels, num_classes, 1))

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps, fine to coarse -> logits `main` at the finest map's size; in training with deep supervision `aux0`,
        ... at their levels' sizes, coarse first."""
        fused = self.controllers[-1](maps[-1])
        aux: list[Tensor] = []
        for level in reversed(range(len(self.fusions))):
            if self.training and self.dsn:
                aux.append(self.dsn[level](fused))
            fine = self.controllers[level](maps[level])
            fused = self.fusions[level](fine + resize(fused, fine.shape[-2:]))
        return {"main": self.conv_last(fused), **{f"aux{i}": each for i, each in enumerate(aux)}}
