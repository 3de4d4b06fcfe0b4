"""The outputs that only a training needs, from the backbone's maps."""
from __future__ import annotations

from torch import Tensor, nn

from network.layers import conv_bn_relu

# width of the 3x3 convolution before the boundary logits
BOUNDARY_CHANNELS = 64


class TrainingHeads(nn.Module):
    """Adds outputs for the criterion; no prediction reads them, and no exported network has them.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        boundary: adds logits of a pixel being at an edge, from the finest map (after PIDNet, CVPR
            2023, arXiv 2206.02066).
        feature_channels: channels of the teacher's coarsest map, which a 1x1 convolution of the
            student's coarsest map imitates; None without.
    """

    def __init__(self, in_channels: tuple[int, ...], *, boundary: bool = False,
                 feature_channels: int | None = None) -> None:
        super().__init__()
        self.boundary: nn.Sequential | None = None
        if boundary:
            self.boundary = nn.Sequential(
                conv_bn_relu(in_channels[0], BOUNDARY_CHANNELS, 3),
                nn.Conv2d(BOUNDARY_CHANNELS, 1, 1))
        self.projection: nn.Conv2d | None = None
        if feature_channels is not None:
            self.projection = nn.Conv2d(in_channels[-1], feature_channels, 1)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the outputs.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `boundary`, (N, 1, H_0, W_0), and `feature`, (N, feature_channels, H_n, W_n), of those
            that there are.
        """
        outputs: dict[str, Tensor] = {}
        if self.boundary is not None:
            outputs["boundary"] = self.boundary(maps[0])
        if self.projection is not None:
            outputs["feature"] = self.projection(maps[-1])
        return outputs
