"""DFNet, designed by Partial Order Pruning (Li et al., CVPR 2019, arXiv 1903.03777)."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import BasicBlock
from network.model import Backbone


class DFNetV1(Backbone):
    """DFNet-V1: three maps, fine to coarse, at strides 16, 32 and 32."""

    out_channels = (128, 256, 512)
    strides = (16, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.stage1 = _stem()
        self.stage2 = _stage(64, 64, depth=3, stride=2)
        self.stage3 = _stage(64, 128, depth=3, stride=2)
        self.stage4 = _stage(128, 256, depth=3, stride=2)
        self.stage5 = _stage(256, 512, depth=1, stride=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        stage3 = self.stage3(self.stage2(self.stage1(images)))
        stage4 = self.stage4(stage3)
        return [stage3, stage4, self.stage5(stage4)]


class DFNetV2(Backbone):
    """DFNet-V2: three maps, fine to coarse, at strides 8, 16 and 32."""

    out_channels = (128, 256, 512)
    strides = (8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.stage1 = _stem()
        self.stage2_1 = _stage(64, 64, depth=2, stride=2)
        self.stage2_2 = _stage(64, 128, depth=1, stride=1)
        self.stage3_1 = _stage(128, 128, depth=10, stride=2)
        self.stage3_2 = _stage(128, 256, depth=1, stride=1)
        self.stage4_1 = _stage(256, 256, depth=4, stride=2)
        self.stage4_2 = _stage(256, 512, depth=2, stride=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        stage2 = self.stage2_2(self.stage2_1(self.stage1(images)))
        stage3 = self.stage3_2(self.stage3_1(stage2))
        return [stage2, stage3, self.stage4_2(self.stage4_1(stage3))]


def _stem() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    )


def _stage(in_channels: int, channels: int, *, depth: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride=stride, downsample=True)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(depth - 1)))
