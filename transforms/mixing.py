"""CutMix, mosaic and copy-paste: other images of the training split are mixed into a crop.

Each of the other images gets its own scale, crop and flip, drawn by the generator of the sample,
so that the result depends on the sample alone. A batch has no part in it: partners from the same
micro-batch would change with the number of processes and the size of a micro-batch.
"""
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from transforms.base import Compose, Focus, Pair, Transform

# of a mosaic's crop: where its four parts meet, along each axis
MOSAIC_CENTER = (0.25, 0.75)

# a mask (H, W), or a slice of rows and one of columns
Region = np.ndarray | tuple[slice, slice]


class Partners(Protocol):
    """The other images of the training split, for one sample (`datasets.partners`)."""

    def draw(self, rng: np.random.Generator) -> Pair:
        """Draws an image, (H, W, 3), and its label, (H, W)."""

    def draw_of_class(self, rng: np.random.Generator) -> tuple[Pair, Focus, int] | None:
        """Draws a class that is pasted, then an image of it.

        Returns:
            The pair, a point of the class in it and its train id; None if no other image has it.
        """


@dataclass(frozen=True)
class Mix(ABC):
    """Mixes other images into a crop, with a probability.

    Args:
        probability: in [0, 1].
        geometry: scale, crop and flip of each of the other images.
        partners: the other images; set for each sample by `MixingCompose.with_partners`.

    Raises:
        ValueError: the probability is not in [0, 1].
    """

    flag: ClassVar[str]

    probability: float
    geometry: Compose
    partners: Partners | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"{self.flag} {self.probability} is not a probability: give a number "
                             "from 0 to 1.")

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        if rng.random() >= self.probability:
            return image, label
        if self.partners is None:
            raise ValueError(f"{self.flag} has no other images to mix: call "
                             "datasets.add_partners(data) on the dataset of this transform.")
        crop = image.copy(), label.copy()
        self.mix_into(crop, self.partners, rng)
        return crop

    @abstractmethod
    def mix_into(self, crop: Pair, partners: Partners, rng: np.random.Generator) -> None:
        """Changes an image and its label in place."""

    def draw_crop(self, partners: Partners, rng: np.random.Generator) -> Pair:
        """Returns a crop of another image."""
        return self.geometry(*partners.draw(rng), None, rng)


class CutMix(Mix):
    """Replaces a rectangle by that of another image's crop (Yun et al., arXiv 1905.04899).

    The rectangle has the shape of the crop. Its share of the area is from Beta(1, 1), which is
    uniform, and its position is uniform among those inside of the crop.
    """

    flag = "--cutmix"

    def mix_into(self, crop: Pair, partners: Partners, rng: np.random.Generator) -> None:
        height, width = crop[1].shape
        side = math.sqrt(rng.random())
        rows, columns = round(side * height), round(side * width)
        top = int(rng.integers(height - rows + 1))
        left = int(rng.integers(width - columns + 1))
        region = slice(top, top + rows), slice(left, left + columns)
        paste(crop, self.draw_crop(partners, rng), region)


class Mosaic(Mix):
    """Joins parts of four crops at a random point (YOLOv4, arXiv 2004.10934, section 3.3).

    The point is uniform in the middle half of the crop, along each axis. Each part keeps its place
    in its crop, and one of the four at random is that of the sample itself.
    """

    flag = "--mosaic"

    def mix_into(self, crop: Pair, partners: Partners, rng: np.random.Generator) -> None:
        row, column = (round(length * rng.uniform(*MOSAIC_CENTER)) for length in crop[1].shape)
        upper, lower = slice(0, row), slice(row, None)
        left, right = slice(0, column), slice(column, None)
        regions = [(upper, left), (upper, right), (lower, left), (lower, right)]
        del regions[int(rng.integers(4))]
        for region in regions:
            paste(crop, self.draw_crop(partners, rng), region)


class CopyPaste(Mix):
    """Pastes all pixels of a rare class of another image's crop (Ghiasi et al., arXiv 2012.07177).

    A map of classes has no objects to choose from, so the whole class is pasted, at its place in a
    crop that contains a point of it. As in the paper, its border is not blended.
    """

    flag = "--copy_paste"

    def mix_into(self, crop: Pair, partners: Partners, rng: np.random.Generator) -> None:
        drawn = partners.draw_of_class(rng)
        if drawn is None:
            return
        pair, focus, train_id = drawn
        other = self.geometry(*pair, focus, rng)
        paste(crop, other, other[1] == train_id)


def paste(crop: Pair, other: Pair, region: Region) -> None:
    """Copies a region of an image and its label, in place, from another pair of the same size."""
    for target, source in zip(crop, other, strict=True):
        target[region] = source[region]


class MixingCompose(Compose):
    """`Compose` with transforms that mix other images of the training split into a sample.

    Args:
        pasted_classes: train ids that `CopyPaste` pastes, empty for the rare classes of the split;
            None without `CopyPaste`.
    """

    def __init__(self, transforms: Sequence[Transform],
                 pasted_classes: tuple[int, ...] | None) -> None:
        super().__init__(transforms)
        self.pasted_classes = pasted_classes

    def with_partners(self, partners: Partners) -> Compose:
        """Returns the transform of one sample, given the other images."""
        return Compose([replace(transform, partners=partners) if isinstance(transform, Mix)
                        else transform for transform in self.transforms])
