"""`DatasetSpec`: the classes, folder layouts and splits of a dataset, and its maps between ids."""
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

# train id of pixels whose raw id the spec does not name; the reader refuses them
UNKNOWN = 254

SEE_DATASETS = "(see DATASETs.md)"

RGB = tuple[int, int, int]


class DatasetError(ValueError):
    """The files of a dataset do not fit its spec. The message names the file and the remedy."""


class BadSample(DatasetError):
    """An image or its label cannot be used: missing, damaged, or of different sizes."""


@dataclass(frozen=True)
class ClassInfo:
    """One class. Its train id is its position in `DatasetSpec.classes`.

    Args:
        rgb: color in [0, 255], for pictures and for label files that hold colors.
        raw_ids: values in the label files; None if the files hold the train id, or `rgb`.
        category: group of classes, for reports.
    """

    name: str
    rgb: RGB
    raw_ids: tuple[int, ...] | None = None
    category: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as data: palette, id maps and number of classes follow from the rows of `classes`.

    Args:
        name: value of `--dataset`.
        title: name in messages and reports.
        layouts: tried in order; the first in which the split has labeled images is used.
        splits: split -> its folders, or subsets of the images of folders. Fold k > 0 of a dataset
            with several cross-validation splits is called `<split>_cv<k>`.
        hint: the folder that `--data_root` must name.
        unlabeled: splits without public labels. Label files found there are dummies and not read.
        ignored_raw_ids: values in the label files that become 255. The first one is written for
            ignored pixels in label files.
        crop_size: (height, width) of training crops without `--crop_size`.
        coarse_split: split with coarse labels, used by `--coarse_boost_classes`; "" for none.
        mean, std: of RGB in [0, 1], for a normalization that is the dataset's own and not that of
            the network's weights.
        colors: label files hold colors; raw ids are colors, encoded by `rgb_to_int`.
        group: regular expression that finds the group of correlated images, such as the drive, in
            an image's path below the root: what its parentheses match; "" for independent images.
        block: cuts a group into blocks of this many images that follow one another; 0 for whole
            groups.
        parts: for a merged dataset, pairs of (folder below the root, spec) with the same classes.
        root: folder of the data without `--data_root`.
        source: the YAML file that describes the dataset; "" for a table in code.
        description: content of `source`, which a checkpoint stores.

    Raises:
        ValueError: a raw id is listed twice or out of range, or there are no classes or more than
            254.
    """

    name: str
    title: str
    classes: tuple[ClassInfo, ...]
    layouts: tuple[Layout, ...]
    splits: Mapping[str, tuple[str | Subset, ...]] = field(hash=False)
    hint: str
    unlabeled: tuple[str, ...] = ()
    ignored_raw_ids: tuple[int, ...] = (IGNORE_LABEL,)
    crop_size: tuple[int, int] = (1024, 1024)
    coarse_split: str = ""
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    colors: bool = False
    group: str = ""
    block: int = 0
    parts: tuple[tuple[str, DatasetSpec], ...] = ()
    root: str | None = None
    source: str = ""
    description: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= UNKNOWN:
            raise ValueError(f"{self.name}: a dataset has 1 to {UNKNOWN} classes, not "
                             f"{len(self.classes)}")
        uses = Counter(self.ignored_raw_ids)
        for train_id in range(self.num_classes):
            uses.update(self.raw_ids(train_id))
        largest = 0xFFFFFF if self.colors else 0xFFFF
        wrong = sorted(raw_id for raw_id, count in uses.items()
                       if count > 1 or not 0 <= raw_id <= largest)
        if wrong:
            kind = "colors" if self.colors else "raw ids"
            raise ValueError(f"{self.name}: {kind} [{', '.join(map(self.describe, wrong))}] are "
                             f"listed twice or out of the range 0 to {self.describe(largest)}")

    def require(self, split: str) -> None:
        """Raises DatasetError if the dataset has no such split."""
        if split not in self.splits:
            suggestion = suggest(split, self.splits) or "."
            raise DatasetError(f"{self.title} has no split {split!r}{suggestion} "
                               f"The splits are: {', '.join(self.splits)}.")

    def raw_ids(self, train_id: int) -> tuple[int, ...]:
        """Returns the values of a class in the label files."""
        info = self.classes[train_id]
        if info.raw_ids is not None:
            return info.raw_ids
        return (rgb_to_int(info.rgb),) if self.colors else (train_id,)

    def describe(self, raw_id: int) -> str:
        """Returns a raw id as text: a number, or (R, G, B) if the label files hold colors."""
        return str(int_to_rgb(raw_id)) if self.colors else str(raw_id)

    def ignore_line(self, raw_ids: tuple[int, ...]) -> str:
        """Returns the line of a YAML file that ignores these raw ids besides the ignored ones."""
        ignored = tuple(dict.fromkeys((*self.ignored_raw_ids, *raw_ids)))
        if self.colors:
            colors = [str(list(int_to_rgb(color))) for color in ignored]
            return f"ignored_rgbs: [{', '.join(colors)}]"
        return f"ignored_ids: [{', '.join(map(str, ignored))}]"

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(info.name for info in self.classes)

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8 RGB: color of each train id, black for ignored ones."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [info.rgb for info in self.classes]
        return palette

    @cached_property
    def raw_to_train(self) -> dict[int, int]:
        """Raw id -> train id, 255 for ignored raw ids, sorted by raw id."""
        train_ids = dict.fromkeys(self.ignored_raw_ids, IGNORE_LABEL)
        for train_id in range(self.num_classes):
            train_ids.update(dict.fromkeys(self.raw_ids(train_id), train_id))
        return dict(sorted(train_ids.items()))

    @property
    def mapping(self) -> tuple[bool, list[tuple[int, int]]]:
        """`colors` and the items of `raw_to_train`, on which the train ids of a label file depend.

        Packed copies and cached centroids stay valid as long as it is equal.
        """
        return self.colors, [*self.raw_to_train.items()]

    @cached_property
    def lookup(self) -> np.ndarray:
        """(N,) uint8: raw id -> train id, 255 for ignored ids, 254 for ids that are not listed.

        N is 256, or 65,536 if ids need 16 bits. Not defined for colors; see `to_train_ids`.
        """
        assert not self.colors
        size = 256 if max(self.raw_to_train) < 256 else 65_536
        lookup = np.full(size, UNKNOWN, np.uint8)
        lookup[list(self.raw_to_train)] = list(self.raw_to_train.values())
        return lookup

    def to_train_ids(self, raw: np.ndarray) -> np.ndarray:
        """Maps the values of a label file to train ids.

        Args:
            raw: (H, W) uint8 or uint16 ids; uint32 colors as `rgb_to_int` returns them if `colors`.

        Returns:
            (H, W) uint8: train ids, 255 for ignored ids, 254 for ids that are not listed.
        """
        if self.colors:
            return _color_lookup(tuple(self.raw_to_train.items()))[raw]
        if raw.dtype == np.uint8:
            return cv2.LUT(raw, self.lookup[:256])
        # all ids beyond the table share one more entry at its end
        lookup = np.append(self.lookup, np.uint8(UNKNOWN))
        return lookup[np.minimum(raw, np.uint32(len(self.lookup)))]

    @cached_property
    def to_raw_ids(self) -> np.ndarray:
        """Train id -> value in the dataset's label files, the first one where a class has several.

        (256,) uint8 or uint16, or (256, 3) uint8 if `colors`. All but the classes' train ids map to
        the first ignored value; without one, to 255 or black.
        """
        default = 0 if self.colors else IGNORE_LABEL
        ignored = self.ignored_raw_ids[0] if self.ignored_raw_ids else default
        raw = np.full(256, ignored, np.uint32)
        for train_id in range(self.num_classes):
            raw_ids = self.raw_ids(train_id)
            # a class of a remapped dataset may have no raw id, and stays ignored
            if raw_ids:
                raw[train_id] = raw_ids[0]
        if self.colors:
            red, green, blue = raw >> 16, (raw >> 8) & 255, raw & 255
            return np.stack([red, green, blue], axis=-1).astype(np.uint8)
        return raw.astype(np.uint8 if raw.max() < 256 else np.uint16)

    def without_labels(self) -> DatasetSpec:
        """Returns the spec whose label files are neither looked for nor read."""
        parts = tuple((folder, part.without_labels()) for folder, part in self.parts)
        return replace(self, unlabeled=tuple(self.splits), parts=parts)

    def with_train_id_labels(self) -> DatasetSpec:
        """Returns the spec for label files that hold train ids, and 255 for ignored pixels."""
        classes = tuple(replace(info, raw_ids=None) for info in self.classes)
        return replace(self, title=f"{self.title}, train ids", classes=classes,
                       ignored_raw_ids=(IGNORE_LABEL,), colors=False)

    def remapped_to(self, classes: tuple[ClassInfo, ...], names: Mapping[str, str],
                    **changes: Any) -> DatasetSpec:
        """Returns the spec that reads the same label files as other classes.

        Args:
            classes: the other classes; their own raw ids are not used.
            names: class name of this spec -> name in `classes`; classes without entry are ignored.
            changes: other fields of the returned spec.
        """
        assert set(names) <= set(self.names), set(names) - set(self.names)
        raw_ids: dict[str, list[int]] = {info.name: [] for info in classes}
        ignored = [*self.ignored_raw_ids]
        for train_id, info in enumerate(self.classes):
            target = raw_ids[names[info.name]] if info.name in names else ignored
            target.extend(self.raw_ids(train_id))
        return replace(
            self,
            classes=tuple(replace(info, raw_ids=tuple(raw_ids[info.name])) for info in classes),
            ignored_raw_ids=tuple(ignored),
            **changes,
        )


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


# A function and not a cached property, so that the 16 MB are not pickled with each spec that is
# sent to a worker process.
@lru_cache(maxsize=4)
def _color_lookup(raw_to_train: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Returns (2 ** 24,) uint8: color of `rgb_to_int` -> train id, 254 for unlisted colors."""
    lookup = np.full(1 << 24, UNKNOWN, np.uint8)
    lookup[[color for color, _ in raw_to_train]] = [train_id for _, train_id in raw_to_train]
    return lookup


def rgb_to_int(rgb: RGB) -> int:
    """Returns a color as one number, red << 16 | green << 8 | blue."""
    red, green, blue = rgb
    return red << 16 | green << 8 | blue


def int_to_rgb(color: int) -> RGB:
    """Returns the (red, green, blue) of a color from `rgb_to_int`."""
    return color >> 16, (color >> 8) & 255, color & 255
