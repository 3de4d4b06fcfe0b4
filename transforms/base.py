"""The interface of a joint transform, and `Compose`, which applies several in order."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

# (x, y) of a point of the image, or None
Focus = tuple[int, int] | None
# image (H, W, 3) and label (H, W)
Pair = tuple[np.ndarray, np.ndarray]


class Transform(Protocol):
    """Changes an image together with its label.

    A transform is picklable, so that worker processes can receive it with any start method.
    """

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        """Returns the changed pair.

        Args:
            image: (H, W, 3) uint8 RGB. It may be memory-mapped and read-only; slice it before
                copying, so that only the pixels of the slice are read.
            label: (H, W) uint8 train ids.
            focus: the point (x, y) of the image that a crop must contain, or None.
            rng: the only source of randomness.
        """


class Compose:
    """Applies transforms in order.

    Only the first transform gets the focus, which is a point of the source image.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        for transform in self.transforms:
            image, label = transform(image, label, focus, rng)
            focus = None
        return image, label
