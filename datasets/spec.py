"""What a dataset is: a table of classes, the folder layouts it comes in, and its splits. Everything else follows."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np

from datasets.layout import Layout, Subset
from utils import IGNORE_LABEL
from utils.cli import suggest

UNKNOWN = 254           # train id of pixels whose raw id the table does not name: the reader refuses them
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DatasetError(ValueError):
    """A dataset's files do not agree with its table: says which file, what is wrong with it and what to do."""


class BadSample(DatasetError):
    """One image or its label cannot be used: it went away, is damaged, or the two do not fit each other."""


@dataclass(frozen=True)
class ClassInfo:
    """One class. Its train id is its position in `DatasetSpec.classes`.

    Args:
        rgb: color in [0, 255] for showing, and in label files that hold colors.
        raw_ids: values in the label files; None means that the files hold the train id itself, or `rgb`.
        category: group of classes, for reports.
    """

    name: str
    rgb: tuple[int, int, int]
    raw_ids: tuple[int, ...] | None = None
    category: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as data. Palette, lookup table and class count come from the rows of `classes`.

    Args:
        name: what `--dataset` takes.
        title: how people call it.
        layouts: tried in order; the first in which the split has labelled images is read.
        splits: split -> what it is made of: folders, or some of the images of a folder. Fold k > 0 of a dataset with
            several cross-validation splits is called `<split>_cv<k>`.
        coarse_split: the split with coarse labels, from which `--coarse_boost_classes` takes images; "" when none.
        unlabelled: splits without public labels; label files found there are dummies and are not read.
        ignored_raw_ids: values in the label files that become 255. The first means "ignored" in written labels.
        hint: where `--data_root` must point.
        crop_size: (height, width) of training crops when `--crop_size` is not given.
        mean, std: of RGB in [0, 1], for normalizing.
        colors: the label files hold colors; raw ids are colors as `pack` makes them.
        parts: of a merged dataset, (folder below the root, table) pairs; each table has the same classes.
        root: where the data is when `--data_root` is not given.
        source: the file that describes the dataset; "" when the table stands in the code.
        description: what `source` says, so that a checkpoint can carry it.

    Raises:
        ValueError: a raw id stands twice in the table, or there are no classes or more than 254.
    """

    name: str
    title: str
    classes: tuple[ClassInfo, ...]
    layouts: tuple[Layout, ...]
    splits: Mapping[str, tuple[str | Subset, ...]] = field(hash=False)
    hint: str
    unlabelled: tuple[str, ...] = ()
    ignored_raw_ids: tuple[int, ...] = (IGNORE_LABEL,)
    crop_size: tuple[int, int] = (1024, 1024)
    coarse_split: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    colors: bool = False
    parts: tuple[tuple[str, DatasetSpec], ...] = ()
    root: str | None = None
    source: str = ""
    description: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= UNKNOWN:
            raise ValueError(f"{self.name}: a dataset has 1 to {UNKNOWN} classes, this table has {len(self.classes)}")
        uses = Counter([raw_id for train_id in range(len(self.classes)) for raw_id in self.raw_ids(train_id)])
        uses.update(self.ignored_raw_ids)
        most = 0xFFFFFF if self.colors else 0xFFFF
        wrong = sorted(raw_id for raw_id, count in uses.items() if count > 1 or not 0 <= raw_id <= most)
        if wrong:
            what = "colors" if self.colors else "raw ids"
            listed = ", ".join(map(self.describe, wrong))
            raise ValueError(f"{self.name}: {what} [{listed}] stand twice in the table or lie outside 0 to "
                             f"{self.describe(most)}")

    def require(self, split: str) -> None:
        """Raises DatasetError where there is no such split."""
        if split not in self.splits:
            raise DatasetError(f"{self.title} has no split {split!r}{suggest(split, self.splits) or '.'} "
                               f"The splits are: {', '.join(self.splits)}.")

    def raw_ids(self, train_id: int) -> tuple[int, ...]:
        """Returns the values that the label files use for a class."""
        label = self.classes[train_id]
        if label.raw_ids is not None:
            return label.raw_ids
        return (pack(label.rgb),) if self.colors else (train_id,)

    def describe(self, raw_id: int) -> str:
        """Returns a raw id as people write it: a number, or (R, G, B)."""
        return str(unpack(raw_id)) if self.colors else str(raw_id)

    def ignoring(self, raw_ids: tuple[int, ...]) -> str:
        """Returns the line of a YAML file that has these ids ignored besides those that are."""
        every = dict.fromkeys((*self.ignored_raw_ids, *raw_ids))
        if self.colors:
            return f"ignored_rgbs: [{', '.join(str(list(unpack(one))) for one in every)}]"
        return f"ignored_ids: [{', '.join(map(str, every))}]"

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.classes)

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8 RGB: color of each train id, black for ignored ones."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [label.rgb for label in self.classes]
        return palette

    @cached_property
    def table(self) -> dict[int, int]:
        """Raw id -> train id, 255 for ignored ones, in the order of the raw ids."""
        table = dict.fromkeys(self.ignored_raw_ids, IGNORE_LABEL)
        for train_id in range(self.num_classes):
            table.update(dict.fromkeys(self.raw_ids(train_id), train_id))
        return dict(sorted(table.items()))

    @property
    def mapping(self) -> tuple[bool, list[tuple[int, int]]]:
        """All that the train ids of a label file depend on: what is kept of labels holds as long as this does."""
        return self.colors, [*self.table.items()]

    @cached_property
    def lookup(self) -> np.ndarray:
        """(N,) uint8: raw id -> train id, 255 for ignored ids, 254 for ids that the table does not name.

        N is 256, or 65,536 where ids need 16 bits. Colors have no such array: see `to_train_ids`.
        """
        assert not self.colors
        lookup = np.full(256 if max(self.table) < 256 else 65_536, UNKNOWN, np.uint8)
        lookup[list(self.table)] = list(self.table.values())
        return lookup

    def to_train_ids(self, raw: np.ndarray) -> np.ndarray:
        """Maps what a label file holds onto train ids.

        Args:
            raw: (H, W) uint8 or uint16 ids; uint32 packed colors where the table has colors.

        Returns:
            (H, W) uint8: train ids, 255 for ignored ids, 254 for ids that the table does not name.
        """
        if self.colors:
            return _color_lookup(tuple(self.table.items()))[raw]
        if raw.dtype == np.uint8:
            return cv2.LUT(raw, self.lookup[:256])
        return np.append(self.lookup, np.uint8(UNKNOWN))[np.minimum(raw, np.uint32(len(self.lookup)))]

    @cached_property
    def to_raw_ids(self) -> np.ndarray:
        """(256,) uint8 or uint16, or (256, 3) uint8 colors: train id -> what the dataset's own label files hold."""
        ignored = (*self.ignored_raw_ids, pack((0, 0, 0)) if self.colors else IGNORE_LABEL)[0]
        raw = np.full(256, ignored, np.uint32)
        raw[: self.num_classes] = [(*self.raw_ids(train_id), ignored)[0] for train_id in range(self.num_classes)]
        if self.colors:
            return np.stack([raw >> 16, raw >> 8 & 255, raw & 255], axis=-1).astype(np.uint8)
        return raw.astype(np.uint8 if raw.max() < 256 else np.uint16)

    def with_train_id_labels(self) -> DatasetSpec:
        """Returns the table for label files that hold train ids, and 255 for what is ignored."""
        classes = tuple(replace(label, raw_ids=None) for label in self.classes)
        return replace(self, title=f"{self.title}, train ids", classes=classes, ignored_raw_ids=(IGNORE_LABEL,),
                       colors=False)

    def remapped_to(self, classes: tuple[ClassInfo, ...], names: Mapping[str, str], **changes: Any) -> DatasetSpec:
        """Returns the table that reads the same files as other classes.

        Args:
            names: class of this table -> class of `classes`; a class without entry is ignored.
            changes: other fields of the returned table.
        """
        assert set(names) <= set(self.names), set(names) - set(self.names)
        raw_ids: dict[str, list[int]] = {label.name: [] for label in classes}
        ignored = [*self.ignored_raw_ids]
        for train_id, label in enumerate(self.classes):
            (raw_ids[names[label.name]] if label.name in names else ignored).extend(self.raw_ids(train_id))
        return replace(self, classes=tuple(replace(label, raw_ids=tuple(raw_ids[label.name])) for label in classes),
                       ignored_raw_ids=tuple(ignored), **changes)


def split_name(spec: DatasetSpec, split: str, *, fold: int = 0, annotations: str = "fine") -> str:
    """Returns the name under which `spec.splits` lists a variant of a split.

    Args:
        fold: number of the cross-validation split; 0 is the usual one.
        annotations: "fine" or "coarse".

    Raises:
        DatasetError: the dataset has no such cross-validation split, or no coarse annotations of
            this split.
    """
    name = split
    if fold:
        name = f"{split}_cv{fold}"
        if name not in spec.splits:
            others = [other for other in spec.splits if "_cv" in other]
            remedy = f"it has {', '.join(others)}." if others else "it has none; leave --cv out."
            raise DatasetError(f"{spec.title} has no cross-validation split {fold} of {split}: "
                               f"{remedy}")
    if annotations == "fine" or name == spec.coarse_split:
        return name
    if f"{name}_{annotations}" not in spec.splits:
        raise DatasetError(f"{spec.title} has no {annotations} annotations of {name}: "
                           "leave --mode out.")
    return f"{name}_{annotations}"


@lru_cache(maxsize=4)                                       # beside the table, whose copies go to worker processes
def _color_lookup(table: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(2 ** 24,) uint8: packed color -> train id, as `DatasetSpec.table` has it, 254 for all others; 16 MB."""
    lookup = np.full(1 << 24, UNKNOWN, np.uint8)
    lookup[[color for color, _ in table]] = [train_id for _, train_id in table]
    return lookup


def pack(rgb: tuple[int, int, int]) -> int:
    """Returns a color as one number."""
    red, green, blue = rgb
    return red << 16 | green << 8 | blue


def unpack(color: int) -> tuple[int, int, int]:
    """Returns the (R, G, B) of a packed color."""
    return color >> 16, color >> 8 & 255, color & 255
