"""Context over the whole image: pyramid pooling (PSPNet), its sum, and atrous pooling (DeepLab)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.layers import conv_bn_relu, resize


class AdaptiveAveragePooling(nn.Module):
    """Averages a map over an s x s grid of cells: (N, C, H, W) -> (N, C, s, s).

    Computes what `nn.AdaptiveAvgPool2d(s)` computes, as two small matrix products

        out = R features C^T,    R (s, H) and C (s, W),

    whose matrices are built from the size at run time. Therefore the module can be exported for any
    input size, while `nn.AdaptiveAvgPool2d` needs a fixed size that the cells divide.

    Args:
        cells: s, the number of cells per side.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = (self._averages(side, features) for side in features.shape[-2:])
        return F.linear(rows @ features, columns)

    def _averages(self, side: int, like: Tensor) -> Tensor:
        """Returns (s, side): row i holds the weights of the average over cell i.

        Cell i covers the positions floor(i side / s) <= p < ceil((i + 1) side / s), so that cells
        overlap where s does not divide the side.
        """
        cell = torch.arange(self.cells, device=like.device)[:, None]
        position = torch.arange(side, device=like.device)[None]
        first = cell * side // self.cells
        end = ((cell + 1) * side + self.cells - 1) // self.cells            # rounded up
        inside = ((position >= first) & (position < end)).to(like.dtype)
        return inside / inside.sum(dim=1, keepdim=True)

    def extra_repr(self) -> str:
        return f"cells={self.cells}"


class PyramidPooling(nn.Module):
    """The Pyramid Pooling Module (PPM): joins averages over grids of several sizes with the input.

    Shapes: (N, in_channels, H, W) -> (N, channels, H, W).
    Source: PSPNet, arXiv 1612.01105, figure 3.

    Args:
        grid_sizes: cells per side of each grid.
    """

    def __init__(self, in_channels: int, channels: int,
                 grid_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        # `stages` and `bottleneck` are the published checkpoints' keys.
        self.stages = _pooling_stages(in_channels, channels, grid_sizes)
        self.bottleneck = nn.Sequential(
            *conv_bn_relu(in_channels + len(grid_sizes) * channels, channels, 1),
            nn.Dropout2d(0.1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns the features with their context.

        Raises:
            ValueError: a single image in training mode: its 1x1 cell has no batch statistics.
        """
        # Submodule 2 of a stage is its batch norm; the first stage has a single cell.
        refuse_single_image(features, self.stages[0].get_submodule("2"))
        pyramid = [resize(stage(features), features.shape[-2:]) for stage in self.stages]
        return self.bottleneck(torch.cat([*pyramid, features], dim=1))


class SummedPyramidPooling(nn.Module):
    """Pyramid pooling that adds its levels and a 1x1 convolution of the input.

    Unlike `PyramidPooling`, it needs no wide convolution of the concatenated levels.

    Shapes: (N, in_channels, H, W) -> (N, channels, H, W).
    Source of the sum: ICNet, arXiv 1704.08545; PP-LiteSeg, arXiv 2204.02681, "Simple Pyramid
    Pooling Module".

    Args:
        grid_sizes: cells per side of each grid.
    """

    def __init__(self, in_channels: int, channels: int,
                 grid_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.stages = _pooling_stages(in_channels, channels, grid_sizes)
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.finish = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout2d(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Returns the features with their context.

        Raises:
            ValueError: a single image in training mode: its 1x1 cell has no batch statistics.
        """
        # Submodule 2 of a stage is its batch norm; the first stage has a single cell.
        refuse_single_image(features, self.stages[0].get_submodule("2"))
        total = self.project(features)
        for stage in self.stages:
            total = total + resize(stage(features), features.shape[-2:])
        return self.finish(total)


class AtrousPyramidPooling(nn.Module):
    """Atrous Spatial Pyramid Pooling (ASPP): image average, 1x1 convolution, dilated convolutions.

    The branches are concatenated in this order.

    Shapes: (N, in_channels, H, W) -> (N, 5 channels, H, W) with three dilations.
    Source: DeepLabV3, arXiv 1706.05587, figure 5.

    Args:
        channels: output channels of each branch.
        dilations: of the 3x3 convolutions.
    """

    def __init__(self, in_channels: int, channels: int = 256,
                 dilations: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__()
        # `features` and `img_conv` are the published checkpoints' keys.
        self.features = nn.ModuleList([conv_bn_relu(in_channels, channels, 1)])
        self.features.extend(
            conv_bn_relu(in_channels, channels, 3, dilation=dilation) for dilation in dilations)
        self.img_conv = conv_bn_relu(in_channels, channels, 1)
        self.out_channels = channels * (len(self.features) + 1)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the concatenated branches.

        Raises:
            ValueError: a single image in training mode: its average has no batch statistics.
        """
        refuse_single_image(features, self.img_conv[1])
        average = features.mean(dim=(2, 3), keepdim=True)
        image = resize(self.img_conv(average), features.shape[-2:])
        return torch.cat([image, *(branch(features) for branch in self.features)], dim=1)


# Name -> the module that adds context over the whole image to a pyramid's coarsest map.
CONTEXTS: dict[str, type[nn.Module]] = {"ppm": PyramidPooling, "sum": SummedPyramidPooling}


def make_context(name: str, in_channels: int, channels: int) -> nn.Module:
    """Returns a module of `CONTEXTS`: (N, in_channels, H, W) -> (N, channels, H, W).

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CONTEXTS:
        raise ValueError(f'unknown context="{name}": choose {" or ".join(CONTEXTS)}')
    return CONTEXTS[name](in_channels, channels)


def refuse_single_image(features: Tensor, norm: nn.Module) -> None:
    """Checks that the batch statistics of `norm` have more than one value per channel.

    Args:
        features: (N, C, H, W), the input of the pooling.
        norm: the batch norm of the averages over whole images, (N, C, 1, 1).

    Raises:
        ValueError: N is 1 in training mode.
    """
    # The batch size is compared last, so that an exporter does not see the comparison.
    if norm.training and type(norm) is nn.BatchNorm2d and len(features) == 1:
        raise ValueError(
            "pyramid pooling cannot train on a batch of one image: the batch normalization of its "
            "1x1 cell has a single value per channel. Use at least 2 images per process "
            "(batch_size=2), or several GPUs with synchronized batch normalization.")


def _pooling_stages(in_channels: int, channels: int,
                    grid_sizes: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(
            AdaptiveAveragePooling(cells),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        for cells in grid_sizes)
