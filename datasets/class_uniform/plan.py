"""Class-uniform sampling: epochs that draw rare classes as often as common ones.

Cf. Zhu et al., arXiv 1812.01593, section 3.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.class_uniform.centroids import find_centroids, points_by_class
from datasets.reader import JoinedDataset, SegmentationDataset
from datasets.sampling import Choice, EpochPlan, SampleDraw
from datasets.spec import DatasetError, DatasetSpec
from utils.files import cache_folder


class _Quota(NamedTuple):
    """Number of class-uniform draws of one class before an epoch, and in it."""

    before: int
    draws: int


class ClassUniformPlan(EpochPlan):
    """Epochs of `dataset_size` draws: some around class centroids, the others over the images.

    Three endless sequences continue where the epoch before stopped: the classes in rotation, for
    each class shuffled passes over its centroids, and shuffled passes over the images. Therefore
    the numbers of draws of any two classes differ by at most one in each epoch. Over all epochs,
    the numbers of draws of any two centroids of a class, or of any two images, differ by at most
    one as well.

    Args:
        dataset_size: number of images that may be drawn without a class, and of an epoch's draws.
        centroids: (n, 4) rows of (image, train id, x, y). Only here an image may be
            `dataset_size` or above: it is then drawn around its centroids only. The draws of a
            class without rows go to the other classes.
        fraction: fraction of an epoch's draws that are class-uniform, in [0, 1].
        epochs: number of epochs, from the first on, with class-uniform draws; later epochs draw
            each image once. All epochs when None.

    Raises:
        ValueError: the seed is negative.
        DatasetError: no class has a centroid.
    """

    def __init__(self, dataset_size: int, seed: int, centroids: np.ndarray, fraction: float,
                 epochs: int | None = None) -> None:
        super().__init__(dataset_size, seed)
        if not len(centroids):
            raise DatasetError("no label holds a pixel of any class, so --class_uniform_pct has "
                               "nothing to draw: check that --dataset fits the files in "
                               "--data_root.")
        # train id -> rows of (image, x, y)
        self.pools = points_by_class(centroids)
        self.num_uniform = round(fraction * dataset_size)
        self.epochs = epochs

    def draws(self, epoch: int) -> list[SampleDraw]:
        if not self._is_uniform(epoch):
            return super().draws(epoch)
        num_images = self.dataset_size - self.num_uniform
        images = self._slice_of_passes(self.dataset_size, epoch * num_images, num_images)
        chosen: list[Choice] = [(image, None) for image in images.tolist()]
        for train_id, quota in self._class_quota(epoch).items():
            pool = self.pools[train_id]
            rows = self._slice_of_passes(len(pool), quota.before, quota.draws, 0, train_id)
            chosen += [(image, (x, y)) for image, x, y in pool[rows].tolist()]
        return self._shuffled(chosen, epoch, 0)

    def class_draws(self, epoch: int) -> dict[int, int]:
        if not self._is_uniform(epoch):
            return {}
        return {train_id: quota.draws for train_id, quota in self._class_quota(epoch).items()}

    def describe(self, names: Sequence[str]) -> list[str]:
        percent = 100 * self.num_uniform / self.dataset_size
        until = "" if self.epochs is None else f" up to epoch {self.epochs}, none after it"
        # a small fraction of few images may round to no draw
        draws = self.class_draws(0) or dict.fromkeys(self.pools, 0)
        counts = [f"{names[train_id]} {draws[train_id]} of {len(pool)}"
                  for train_id, pool in self.pools.items()]
        lines = [
            f"class-uniform sampling: {self.num_uniform} of the {self.dataset_size} draws of an "
            f"epoch ({percent:.1f} %){until}",
            f"draws in the first epoch, of how many points, by class: {', '.join(counts)}",
        ]
        absent = [name for train_id, name in enumerate(names) if train_id not in self.pools]
        if absent:
            lines.append("in no label, so that the other classes get their draws: "
                         f"{', '.join(absent)}")
        return lines

    def _is_uniform(self, epoch: int) -> bool:
        return self.num_uniform > 0 and (self.epochs is None or epoch < self.epochs)

    def _class_quota(self, epoch: int) -> dict[int, _Quota]:
        """Returns train id -> quota of an epoch; the draws are assigned to the classes in rotation.

        With C classes, class number c gets the draws c, c + C, c + 2C, ... of all epochs. Of the
        first n draws, these are ceil((n - c) / C), and none if n < c.
        """
        start, stop = epoch * self.num_uniform, (epoch + 1) * self.num_uniform
        quotas = {}
        # -(-a // b) is a / b, rounded up
        for number, train_id in enumerate(self.pools):
            before = max(0, -(-(start - number) // len(self.pools)))
            after = max(0, -(-(stop - number) // len(self.pools)))
            quotas[train_id] = _Quota(before, after - before)
        return quotas


def plan_training(data: SegmentationDataset, seed: int, *, class_uniform_pct: float = 0,
                  class_uniform_tile: int = 1024, max_cu_epoch: int | None = None,
                  coarse_boost_classes: Sequence[int] = (), cache_dir: str | Path | None = None,
                  num_workers: int = 0,
                  skip_bad: bool = False) -> tuple[SegmentationDataset | JoinedDataset, EpochPlan]:
    """Returns the training images, joined by coarsely labeled ones on request, and their plan.

    Args:
        class_uniform_pct: fraction of an epoch's draws that are class-uniform, in [0, 1].
        class_uniform_tile: side, in pixels, of the tiles that give one centroid for each class.
        max_cu_epoch: number of epochs with class-uniform draws; all when None.
        coarse_boost_classes: train ids whose centroids in the coarse split are drawn, too.
        cache_dir: folder of the centroids; `cache_folder()` when None.
        num_workers, skip_bad: as for `find_centroids`.

    Raises:
        ValueError: the options clash, a label is invalid, or the root has another layout.
        OSError: files are missing.
    """
    check_sampling(data.spec, class_uniform_pct, coarse_boost_classes)
    if not class_uniform_pct:
        return data, EpochPlan(len(data), seed)
    folder = Path(cache_dir).expanduser() if cache_dir else cache_folder()
    centroids = find_centroids(data, class_uniform_tile, num_workers, folder, skip_bad)
    images: SegmentationDataset | JoinedDataset = data
    if coarse_boost_classes:
        coarse = SegmentationDataset(data.spec, data.root, data.spec.coarse_split, data.transform,
                                     data.extras)
        coarse.partners = data.partners
        rows = find_centroids(coarse, class_uniform_tile, num_workers, folder, skip_bad)
        rows = rows[np.isin(rows[:, 1], list(coarse_boost_classes))]
        # the images of the second dataset are numbered after those of the first
        rows = rows + np.array([len(data), 0, 0, 0], np.int32)
        centroids = np.concatenate([centroids, rows])
        images = JoinedDataset(data, coarse)
    plan = ClassUniformPlan(len(data), seed, centroids, class_uniform_pct, max_cu_epoch)
    return images, plan


def check_sampling(spec: DatasetSpec, class_uniform_pct: float,
                   coarse_boost_classes: Iterable[int]) -> None:
    """Checks the sampling options against each other and the dataset, before any file is read.

    Raises:
        DatasetError: --coarse_boost_classes is given without class-uniform draws, for a dataset
            without coarse labels, or with a train id that does not exist.
    """
    chosen = tuple(coarse_boost_classes)
    if not chosen:
        return
    if not class_uniform_pct:
        raise DatasetError("--coarse_boost_classes adds to class-uniform draws, and "
                           "--class_uniform_pct 0 makes none: give --class_uniform_pct 0.5, or "
                           "leave --coarse_boost_classes out.")
    unknown = [train_id for train_id in chosen if not 0 <= train_id < spec.num_classes]
    if unknown:
        raise DatasetError(f"--coarse_boost_classes {','.join(map(str, unknown))}: the train ids "
                           f"of {spec.title} are 0 to {spec.num_classes - 1} (see DATASETs.md).")
    if not spec.coarse_split:
        raise DatasetError(f"--coarse_boost_classes: {spec.title} has no coarsely labeled split "
                           "to draw from. Leave the flag out.")
