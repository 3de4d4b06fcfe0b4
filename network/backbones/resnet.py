"""Deep-stem ResNet with dilated 3x3 convolutions, the published SFNet's backbone."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import BasicBlock, Bottleneck
from network.model import Backbone

# Output stride -> the strides of the four stages.
STAGE_STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1), 32: (1, 2, 2, 2)}


class DeepStemResNet(Backbone):
    """ResNet (arXiv 1512.03385) whose 7x7 stem is three 3x3 convolutions (PSPNet's variant).

    Shapes: (N, 3, H, W) -> the maps of the four stages, at strides 4, 8, ... `output_stride`.

    `conv2` of every block is dilated by 2 in stage 3 and by 4 in stage 4, at every output stride,
    as in the published SFNet, of stride 32, and the published DeepLabV3+, of stride 8.

    Args:
        block: the class of the residual blocks.
        depths: number of blocks in each of the four stages.
        output_stride: stride of the coarsest map: 8, 16 or 32.

    Raises:
        ValueError: `output_stride` is not 8, 16 or 32.
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], depths: tuple[int, int, int, int],
                 output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in STAGE_STRIDES:
            raise ValueError(f"output_stride={output_stride}: a ResNet's is 8, 16 or 32")
        strides = STAGE_STRIDES[output_stride]
        stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1, bias=False),
        )
        # The attribute names are the published checkpoints' keys.
        self.layer0 = nn.Sequential(
            stem, nn.BatchNorm2d(128), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
        widths = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.layer1 = _stage(block, 128, 64, depths[0], stride=strides[0], dilation=1)
        self.layer2 = _stage(block, widths[0], 128, depths[1], stride=strides[1], dilation=1)
        self.layer3 = _stage(block, widths[1], 256, depths[2], stride=strides[2], dilation=2)
        self.layer4 = _stage(block, widths[2], 512, depths[3], stride=strides[3], dilation=4)
        self.out_channels = widths
        self.strides = (4, 8, min(16, output_stride), output_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        stage1 = self.layer1(self.layer0(images))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        return [stage1, stage2, stage3, self.layer4(stage3)]


def _stage(block: type[BasicBlock | Bottleneck], in_channels: int, channels: int, depth: int, *,
           stride: int, dilation: int) -> nn.Sequential:
    """Returns `depth` blocks; the stride is that of the first."""
    first = block(in_channels, channels, stride=stride, dilation=dilation, downsample=True)
    rest = (block(channels * block.expansion, channels, dilation=dilation)
            for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def resnet18(output_stride: int = 32) -> DeepStemResNet:
    return DeepStemResNet(BasicBlock, (2, 2, 2, 2), output_stride)


def resnet50(output_stride: int = 32) -> DeepStemResNet:
    return DeepStemResNet(Bottleneck, (3, 4, 6, 3), output_stride)


def resnet101(output_stride: int = 32) -> DeepStemResNet:
    return DeepStemResNet(Bottleneck, (3, 4, 23, 3), output_stride)
