"""DFSegNet's decoder, a light one for DFNet (Li et al., CVPR 2019, arXiv 1903.03777)."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import auxiliary_classifier, conv_bn_relu, resize
from network.model import Head


class DFSegHead(Head):
    """1x1 convolutions to a common width, followed by fusions from coarse to fine.

    With the maps L_i after the 1x1 convolutions, from fine to coarse, and F_n = L_n, a fusion is

        F_i = conv3x3(L_i + resize(F_(i+1))),    main = classifier(F_0).

    There are no published weights of this decoder. Its width is that of SFNet's pyramid on the same
    backbone.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        channels: width of the decoder.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier on the coarser input of each fusion.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        finer = in_channels[:-1]
        self.controllers = nn.ModuleList(conv_bn_relu(width, channels, 1) for width in in_channels)
        self.fusions = nn.ModuleList(conv_bn_relu(channels, channels, 3) for _ in finer)
        self.dsn = nn.ModuleList()
        if deep_supervision:
            self.dsn.extend(auxiliary_classifier(channels, channels, num_classes) for _ in finer)
        self.conv_last = nn.Sequential(
            conv_bn_relu(channels, channels, 3), nn.Conv2d(channels, num_classes, 1))

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main` (N, K, H_0, W_0); in training mode with deep supervision also `aux0`, `aux1`,
            ... from coarse to fine, at the sizes of their levels.
        """
        fused = self.controllers[-1](maps[-1])
        aux: list[Tensor] = []
        for level in reversed(range(len(self.fusions))):
            if self.training and self.dsn:
                aux.append(self.dsn[level](fused))
            fine = self.controllers[level](maps[level])
            fused = self.fusions[level](fine + resize(fused, fine.shape[-2:]))
        main = self.conv_last(fused)
        return {"main": main, **{f"aux{i}": logits for i, logits in enumerate(aux)}}
