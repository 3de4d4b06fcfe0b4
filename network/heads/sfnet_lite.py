"""SFNet-Lite's decoder (arXiv 2207.04415)."""
from __future__ import annotations

from torch import Tensor, nn

from network.alignment import GatedDualFlowAlignment
from network.context import make_context
from network.layers import auxiliary_classifier, conv_bn_relu
from network.model import Head
from network.pyramid_fusion import Fusion


class SFNetLiteHead(Head):
    """One gated dual flow alignment of the context with the finest map, in place of a pyramid.

    With the context P, the lateral maps L_fine of the finest and L_middle of the second-coarsest
    map,

        main = classifier(cat(GD-FAM(P, L_fine), resize(L_middle))).

    Args:
        in_channels: channels of three or four maps, fine to coarse, of which the finest and the
            two coarsest are used.
        channels: width of the decoder.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier on the context.
        context: "ppm", or "sum" for the lighter pyramid pooling.

    Raises:
        ValueError: `context` is unknown.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False, context: str = "ppm") -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.ppm = make_context(context, in_channels[-1], channels)
        self.fpn_in = nn.ModuleList(
            conv_bn_relu(width, channels, 1, bias=True)
            for width in (in_channels[0], in_channels[-2]))
        self.flow_align_module = GatedDualFlowAlignment(channels, channels // 2)
        self.dsn: nn.Sequential | None = None
        if deep_supervision:
            self.dsn = auxiliary_classifier(channels, channels, num_classes)
        self.conv_last = Fusion(2 * channels, channels, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: three or four maps (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main` (N, K, H_0, W_0); in training mode with deep supervision also `aux0`, at the
            size of the coarsest map.
        """
        pyramid = self.ppm(maps[-1])
        fine, middle = self.fpn_in[0](maps[0]), self.fpn_in[1](maps[-2])
        aligned = self.flow_align_module(pyramid, fine)
        logits = {"main": self.conv_last([aligned], [middle])}
        if self.training and self.dsn:
            logits["aux0"] = self.dsn(pyramid)
        return logits
