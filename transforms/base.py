"""What a joint transform is, and how several become one."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

Focus = tuple[int, int] | None
Pair = tuple[np.ndarray, np.ndarray]


class Transform(Protocol):
    """Changes an image together with its label; picklable, so that it reaches worker processes however they start."""

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus, rng: np.random.Generator) -> Pair:
        """Returns the changed pair.

        Args:
            image: (H, W, 3) uint8 RGB; it may be memory-mapped and read-only, so slice before copying.
            label: (H, W) uint8 train ids.
            focus: the point (x, y) of the image that a crop must contain, or None.
            rng: the only source of chance.
        """


class Compose:
    """Applies transforms in order. The first one gets the focus: a point of the source image means nothing later on."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus, rng: np.random.Generator) -> Pair:
        for transform in self.transforms:
            image, label = transform(image, label, focus, rng)
            focus = None
        return image, label
