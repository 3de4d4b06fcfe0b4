"""Wide ResNet-38 (Wu et al., arXiv 1611.10080), a backbone of NVIDIA's segmentation networks."""
from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from network.model import Backbone


class PreActivationBlock(nn.Module):
    """A residual block with BN and ReLU before each convolution (arXiv 1603.05027, figure 1b).

    A block that changes the shape projects the activated input for the shortcut.

    Shapes: (N, in_channels, H, W) -> (N, widths[-1], H / stride, W / stride).

    Args:
        widths: output channels of the convolutions: two values for two 3x3 convolutions, three for
            the 1x1, 3x3 and 1x1 convolutions of a bottleneck.
        stride: of the first convolution and the projection.
        dilation: of the 3x3 convolutions.
        dropout: probability that a channel is dropped before the last convolution.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int, dilation: int,
                 dropout: float) -> None:
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        # The attribute names are the published checkpoints' keys.
        self.bn1 = _bn_relu(in_channels)
        convs: OrderedDict[str, nn.Module] = OrderedDict()
        width_in = in_channels
        for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True), start=1):
            if index > 1:
                convs[f"bn{index}"] = _bn_relu(width_in)
            if dropout and index == len(widths):
                convs["dropout"] = nn.Dropout2d(dropout)
            spacing = dilation if kernel == 3 else 1
            convs[f"conv{index}"] = nn.Conv2d(
                width_in, width, kernel, stride if index == 1 else 1,
                padding=spacing * (kernel // 2), dilation=spacing, bias=False)
            width_in = width
        self.convs = nn.Sequential(convs)
        self.proj_conv = None
        if stride != 1 or in_channels != widths[-1]:
            self.proj_conv = nn.Conv2d(in_channels, widths[-1], 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        activated = self.bn1(features)
        shortcut = features if self.proj_conv is None else self.proj_conv(activated)
        return self.convs(activated) + shortcut


class WideResNet38(Backbone):
    """Wide ResNet-38: the maps after `mod2` (stride 2), `mod3` (4), `mod5` (8) and `mod7` (8).

    Shapes: (N, 3, H, W) -> list of (N, out_channels[i], H / strides[i], W / strides[i]).
    """

    out_channels = (128, 256, 1024, 4096)
    strides = (2, 4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        # The attribute names are the published checkpoints' keys.
        self.mod1 = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 64, 3, padding=1, bias=False)))
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.pool3 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mod2 = _stage(64, 3, (128, 128))
        self.mod3 = _stage(128, 3, (256, 256))
        self.mod4 = _stage(256, 6, (512, 512), stride=2)
        self.mod5 = _stage(512, 3, (512, 1024), dilation=2)
        self.mod6 = _stage(1024, 1, (512, 1024, 2048), dilation=4, dropout=0.3)
        self.mod7 = _stage(2048, 1, (1024, 2048, 4096), dilation=4, dropout=0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        mod2 = self.mod2(self.pool2(self.mod1(images)))
        mod3 = self.mod3(self.pool3(mod2))
        mod5 = self.mod5(self.mod4(mod3))
        return [mod2, mod3, mod5, self.mod7(self.mod6(mod5))]


def _stage(in_channels: int, depth: int, widths: tuple[int, ...], *, stride: int = 1,
           dilation: int = 1, dropout: float = 0.0) -> nn.Sequential:
    """Returns `depth` blocks; the stride is that of the first."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(depth):
        blocks[f"block{index + 1}"] = PreActivationBlock(
            in_channels if index == 0 else widths[-1],
            widths,
            stride=stride if index == 0 else 1,
            dilation=dilation,
            dropout=dropout,
        )
    return nn.Sequential(blocks)


def _bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
