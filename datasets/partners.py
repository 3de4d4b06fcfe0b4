"""The other images of a training split, for the transforms that mix images into a sample."""
from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from datasets.class_uniform.centroids import find_centroids, points_by_class
from datasets.reader import Focus, SegmentationDataset, Transform
from datasets.spec import DatasetError
from utils.files import cache_folder

# of the images: a class that more of them hold is not rare
RARE_SHARE = 0.5

log = logging.getLogger(__name__)


@runtime_checkable
class MixingTransform(Protocol):
    """A transform that mixes other images into a sample (`transforms.MixingCompose`).

    Attributes:
        pasted_classes: train ids that are pasted, empty for the rare ones; None for none.
    """

    pasted_classes: tuple[int, ...] | None

    def with_partners(self, partners: Any) -> Transform:
        """Returns the transform of one sample, given its `Others`."""


@dataclass(frozen=True)
class Partners:
    """The images of a split, as partners of any sample.

    Args:
        pools: the points of each class that is pasted: train id -> rows of (image, x, y) sorted by
            image.
    """

    data: SegmentationDataset
    pools: Mapping[int, np.ndarray]

    def transform_of(self, index: int, transform: MixingTransform) -> Transform:
        """Returns the transform of the sample of image `index`."""
        return transform.with_partners(Others(self.data, self.pools, index))


@dataclass(frozen=True)
class Others:
    """The partners of one sample: the images of the split but its own.

    Which image is drawn depends on the sample's image too: with `--on_bad_sample skip`, another
    image takes the place of a sample whose partner is damaged, and has to draw another partner.

    Args:
        data, pools: as for `Partners`.
        index: of the sample's image in its dataset. For a coarse image or one of --extra_data, this
            is another dataset than `data`, and the number only varies what is drawn.
    """

    data: SegmentationDataset
    pools: Mapping[int, np.ndarray]
    index: int

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws an image; returns it and its label, as `SegmentationDataset.read` does."""
        distance = 1 + int(rng.integers(len(self.data) - 1))
        return self._read((self.index + distance) % len(self.data))

    def draw_of_class(
            self, rng: np.random.Generator,
    ) -> tuple[tuple[np.ndarray, np.ndarray], Focus, int] | None:
        """Draws one of the pasted classes, then one of its points.

        Returns:
            An image and its label, the point (x, y) in them, and the train id; None if no other
            image holds the class.
        """
        train_id = int(rng.choice([*self.pools]))
        pool = self.pools[train_id]
        # the rows start, ..., start + size - 1 are those of the sample's image, which are skipped
        start = bisect_left(pool[:, 0], self.index)
        size = bisect_left(pool[:, 0], self.index + 1) - start
        others = len(pool) - size
        if not others:
            return None
        row = (self.index + int(rng.integers(others))) % others
        if row >= start:
            row += size
        image, x, y = pool[row].tolist()
        return self._read(image), (x, y), train_id

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = self.data.read(index)
        # a split without labels has no transform
        assert label is not None
        return image, label


def add_partners(data: SegmentationDataset, *, class_uniform_tile: int = 1024,
                 cache_dir: str | Path | None = None, num_workers: int = 0,
                 skip_bad: bool = False) -> None:
    """Gives a training split its own images as partners, if its transform mixes images.

    Args:
        class_uniform_tile, cache_dir, num_workers, skip_bad: as for `plan_training`; how the points
            of the classes that are pasted are found.

    Raises:
        DatasetError: the split has one image, or no class to paste; a label is invalid.
        OSError: files are missing.
    """
    transform = data.transform
    if not isinstance(transform, MixingTransform):
        return
    if len(data) < 2:
        raise DatasetError(f"{data.spec.title} {data.split} has a single image, and --cutmix, "
                           "--mosaic and --copy_paste mix it with others: leave them out.")
    points = np.empty((0, 4), np.int32)
    if transform.pasted_classes is not None:
        _check_train_ids(data, transform.pasted_classes)
        folder = Path(cache_dir).expanduser() if cache_dir else cache_folder()
        points = find_centroids(data, class_uniform_tile, num_workers, folder, skip_bad)
        points = _points_to_paste(data, points, transform.pasted_classes)
    data.partners = Partners(data, points_by_class(points))


def rare_classes(points: np.ndarray, num_images: int) -> tuple[int, ...]:
    """Returns the train ids that at most the share `RARE_SHARE` of the images hold, but some do.

    Args:
        points: (n, 4) rows of (image, train id, x, y), at least one for each class of an image.
    """
    counts = _images_by_class(points)
    return tuple(train_id for train_id, count in counts.items() if count <= RARE_SHARE * num_images)


def _images_by_class(points: np.ndarray) -> dict[int, int]:
    """Returns train id -> number of images that hold the class, for the classes in any image."""
    pairs = np.unique(points[:, :2], axis=0)
    train_ids, counts = np.unique(pairs[:, 1], return_counts=True)
    return dict(zip(train_ids.tolist(), counts.tolist(), strict=True))


def _check_train_ids(data: SegmentationDataset, train_ids: Sequence[int]) -> None:
    unknown = [train_id for train_id in train_ids if not 0 <= train_id < data.spec.num_classes]
    if unknown:
        raise DatasetError(f"--copy_paste_classes {','.join(map(str, unknown))}: the train ids of "
                           f"{data.spec.title} are 0 to {data.spec.num_classes - 1} (see "
                           "DATASETs.md).")


def _points_to_paste(data: SegmentationDataset, points: np.ndarray,
                     chosen: tuple[int, ...]) -> np.ndarray:
    """Returns the points of the chosen classes, or of the rare ones, and logs which these are."""
    names, counts = data.spec.names, _images_by_class(points)
    train_ids = chosen or rare_classes(points, len(data))
    if not train_ids:
        raise DatasetError(f"--copy_paste: {data.spec.title} {data.split} has no rare class, since "
                           f"more than half of its {len(data)} images hold each of its classes. "
                           "Name the classes to paste by --copy_paste_classes, or leave "
                           "--copy_paste out.")
    absent = [train_id for train_id in train_ids if train_id not in counts]
    if absent:
        raise DatasetError(f"--copy_paste_classes {','.join(map(str, absent))}: no label of "
                           f"{data.spec.title} {data.split} holds "
                           f"{', '.join(names[train_id] for train_id in absent)}. Leave them out.")
    log.info("copy-paste of classes, by the images that hold them: %s",
             ", ".join(f"{names[train_id]} {counts[train_id]} of {len(data)}"
                       for train_id in train_ids))
    return points[np.isin(points[:, 1], train_ids)]
