"""SFNet: a backbone and the aligned feature pyramid on it (arXiv 2002.10120, figure 3)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from network.alignment import FlowAlignment
from network.context import PyramidPooling
from network.layers import Backbone, conv_bn_relu, resize


class SFNetHead(nn.Module):
    """The decoder: pyramid pooling on the coarsest map, then a top-down path through flow alignment.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        channels: width of the pyramid.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier at each level of the top-down path, used in training only.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.ppm = PyramidPooling(in_channels[-1], channels)
        finer = in_channels[:-1]
        self.fpn_in = nn.ModuleList(conv_bn_relu(width, channels, 1, bias=True) for width in finer)
        self.fpn_out = nn.ModuleList(nn.Sequential(conv_bn_relu(channels, channels, 3)) for _ in finer)
        self.fpn_out_align = nn.ModuleList(FlowAlignment(channels, channels // 2) for _ in finer)
        self.dsn = nn.ModuleList(auxiliary_classifier(channels, num_classes) for _ in finer if deep_supervision)
        self.conv_last = nn.Sequential(
            conv_bn_relu(len(in_channels) * channels, channels, 3), nn.Conv2d(channels, num_classes, 1))

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps (N, C_i, H_i, W_i), fine to coarse -> logits `main` at the finest map's size; in training mode with
        deep supervision also `aux0`, `aux1`, ... at their levels' sizes, coarse first."""
        pyramid = self.ppm(maps[-1])
        outputs = [pyramid]
        aux: list[Tensor] = []
        for level in reversed(range(len(self.fpn_in))):
            lateral = self.fpn_in[level](maps[level])
            pyramid = lateral + self.fpn_out_align[level](pyramid, lateral)
            outputs.insert(0, self.fpn_out[level](pyramid))
            if self.training and self.dsn:
                aux.append(self.dsn[level](pyramid))
        size = outputs[0].shape[-2:]
        fused = torch.cat([outputs[0], *(resize(output, size) for output in outputs[1:])], dim=1)
        return {"main": self.conv_last(fused)} | {f"aux{i}": logits for i, logits in enumerate(aux)}


def auxiliary_classifier(channels: int, num_classes: int) -> nn.Sequential:
    """The deep supervision's classifier (SFNet, section 3.3): (N, C, H, W) -> (N, K, H, W)."""
    return nn.Sequential(
        *conv_bn_relu(channels, channels, 3, bias=True), nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, 1))


class SFNet(nn.Module):
    """A scene parsing network: a backbone that gives maps fine to coarse, and a head that gives logits."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        """Parses a batch of images.

        Args:
            images: (N, 3, H, W), normalised, of any size.
            upsample: whether the logits are resized to (H, W) or stay at the head's own stride.

        Returns:
            `main` (N, K, H, W) logits; in training mode with deep supervision also `aux0`, ... of the same shape.
        """
        logits = self.head(self.backbone(images))
        return {name: resize(each, images.shape[-2:]) for name, each in logits.items()} if upsample else logits
