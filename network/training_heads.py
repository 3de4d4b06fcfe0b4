"""The outputs that only a training needs, from the backbone's maps."""
from __future__ import annotations

from torch import Tensor, nn


class TrainingHeads(nn.Module):
    """Adds outputs for the criterion; no prediction reads them, and no exported network has them.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        feature_channels: channels of the teacher's coarsest map, which a 1x1 convolution of the
            student's coarsest map imitates; None without.
    """

    def __init__(self, in_channels: tuple[int, ...], *,
                 feature_channels: int | None = None) -> None:
        super().__init__()
        self.projection: nn.Conv2d | None = None
        if feature_channels is not None:
            self.projection = nn.Conv2d(in_channels[-1], feature_channels, 1)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the outputs.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `feature`, (N, feature_channels, H_n, W_n), if there is a projection.
        """
        outputs: dict[str, Tensor] = {}
        if self.projection is not None:
            outputs["feature"] = self.projection(maps[-1])
        return outputs
