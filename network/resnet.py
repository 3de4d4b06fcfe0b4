"""Deep-stem ResNet at total stride 32 with dilated 3x3 convolutions, the published SFNet's backbone."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import Backbone, BasicBlock


class DeepStemResNet(Backbone):
    """ResNet (arXiv 1512.03385) whose 7x7 stem is three 3x3 convolutions (PSPNet's variant).

    As in the published networks the stride stays 32 while every second 3x3 convolution (`conv2`) of stages 3 and 4 is
    dilated by 2 and 4.

    Args:
        block: the residual block's class.
        depths: blocks in each of the four stages.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, block: type[BasicBlock], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1, bias=False),
        )
        self.layer0 = nn.Sequential(stem, nn.BatchNorm2d(128), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
        widths = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.layer1 = _stage(block, 128, 64, depths[0], stride=1, dilation=1)
        self.layer2 = _stage(block, widths[0], 128, depths[1], stride=2, dilation=1)
        self.layer3 = _stage(block, widths[1], 256, depths[2], stride=2, dilation=2)
        self.layer4 = _stage(block, widths[2], 512, depths[3], stride=2, dilation=4)
        self.out_channels = widths

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps, fine to coarse, at strides 4, 8, 16 and 32."""
        stride4 = self.layer1(self.layer0(images))
        stride8 = self.layer2(stride4)
        stride16 = self.layer3(stride8)
        return [stride4, stride8, stride16, self.layer4(stride16)]


def _stage(block: type[BasicBlock], in_channels: int, channels: int, depth: int, *, stride: int,
           dilation: int) -> nn.Sequential:
    first = block(in_channels, channels, stride=stride, dilation=dilation, downsample=True)
    rest = (block(channels * block.expansion, channels, dilation=dilation) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def resnet18() -> DeepStemResNet:
    return DeepStemResNet(BasicBlock, (2, 2, 2, 2))
