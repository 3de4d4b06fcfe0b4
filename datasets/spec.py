"""What a dataset is: a table of classes, the folder layouts it comes in, and its splits. Everything else follows."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

IGNORED = 255           # train id of pixels that no loss and no score counts
UNKNOWN = 254           # train id of pixels whose raw id the table does not name: the reader refuses them
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DatasetError(ValueError):
    """A dataset's files do not agree with its table: says which file, what is wrong with it and what to do."""


@dataclass(frozen=True)
class Label:
    """One class. Its train id is its position in `DatasetSpec.classes`.

    Args:
        rgb: colour in [0, 255] for showing.
        raw_ids: values in the label files; none means that the files hold the train id itself.
        category: group of classes, for reports.
    """

    name: str
    rgb: tuple[int, int, int]
    raw_ids: tuple[int, ...] = ()
    category: str = ""


@dataclass(frozen=True)
class Layout:
    """One way a dataset's files are laid out, as globs relative to the root.

    `{split}` stands for the split's folder and `{suffix}` for any of .png .jpg .jpeg .webp. What the stars of `images`
    match, left to right, takes the place of the stars of `labels`: so an image names its label.
    """

    images: str
    labels: str


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as data. Palette, lookup table and class count come from the rows of `classes`.

    Args:
        name: what `--dataset` takes.
        title: how people call it.
        layouts: tried in order; the first in which the split has images is read.
        splits: split -> the folders it is made of.
        coarse_split: the split with coarse labels, from which `--coarse_boost_classes` takes images; "" when none.
        unlabelled: splits without public labels; label files found there are dummies and are not read.
        ignored_raw_ids: values in the label files that become 255. The first means "ignored" in written labels.
        hint: where `--data_root` must point.
        crop_size: (height, width) of training crops when `--crop_size` is not given.
        mean, std: of RGB in [0, 1], for normalising.

    Raises:
        ValueError: a raw id stands twice in the table, or there are no classes or more than 254.
    """

    name: str
    title: str
    classes: tuple[Label, ...]
    layouts: tuple[Layout, ...]
    splits: dict[str, tuple[str, ...]]
    hint: str
    unlabelled: tuple[str, ...] = ()
    ignored_raw_ids: tuple[int, ...] = (IGNORED,)
    crop_size: tuple[int, int] = (1024, 1024)
    coarse_split: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= UNKNOWN:
            raise ValueError(f"{self.name}: a dataset has 1 to {UNKNOWN} classes, this table has {len(self.classes)}")
        uses = Counter([raw_id for train_id in range(len(self.classes)) for raw_id in self.raw_ids(train_id)])
        uses.update(self.ignored_raw_ids)
        wrong = sorted(raw_id for raw_id, count in uses.items() if count > 1 or not 0 <= raw_id <= 255)
        if wrong:
            raise ValueError(f"{self.name}: raw ids {wrong} stand twice in the table or lie outside 0 to 255")

    def raw_ids(self, train_id: int) -> tuple[int, ...]:
        """Returns the values that the label files use for a class."""
        return self.classes[train_id].raw_ids or (train_id,)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.classes)

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8 RGB: colour of each train id, black for ignored ones."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [label.rgb for label in self.classes]
        return palette

    @cached_property
    def lookup(self) -> np.ndarray:
        """(256,) uint8: raw id -> train id, 255 for ignored ids, 254 for ids that the table does not name."""
        lookup = np.full(256, UNKNOWN, np.uint8)
        lookup[list(self.ignored_raw_ids)] = IGNORED
        for train_id in range(self.num_classes):
            lookup[list(self.raw_ids(train_id))] = train_id
        return lookup

    @cached_property
    def to_raw_ids(self) -> np.ndarray:
        """(256,) uint8: train id -> raw id, for writing labels as the dataset's own tools read them."""
        to_raw_ids = np.full(256, (*self.ignored_raw_ids, IGNORED)[0], np.uint8)
        to_raw_ids[: self.num_classes] = [self.raw_ids(train_id)[0] for train_id in range(self.num_classes)]
        return to_raw_ids
