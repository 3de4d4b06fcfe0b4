"""Class-uniform sampling: epochs that look at rare classes as often as at common ones (cf. arXiv 1812.01593)."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.class_uniform.centroid_cache import default_folder
from datasets.class_uniform.centroids import find_centroids
from datasets.reader import JoinedDataset, SegmentationDataset
from datasets.sampling import EpochPlan, SampleDraw
from datasets.spec import DatasetError, DatasetSpec


class ClassUniformPlan(EpochPlan):
    """Epochs of `dataset_size` draws, a share of them around class centroids, the others an even pass over the images.

    Both parts are stretches of endless sequences, taken up where the epoch before left them: the classes in turn, the
    centroids of each class in shuffled pass after pass, and the images likewise. So in every epoch the classes' draws
    differ by one at most, and over the epochs so do the draws of each centroid of a class, and those of each image.

    Args:
        dataset_size: images of the even pass, and draws of an epoch.
        centroids: (n, 4) rows of (image, train id, x, y). Images may number beyond `dataset_size`. Classes without
            a row leave their share to the others.
        share: of an epoch's draws that are class-uniform, in [0, 1].
        epochs: how many epochs, from the first on, are like that; later ones draw each image once. All when None.

    Raises:
        ValueError: the seed is negative.
        DatasetError: no class has a centroid.
    """

    def __init__(self, dataset_size: int, seed: int, centroids: np.ndarray, share: float,
                 epochs: int | None = None) -> None:
        super().__init__(dataset_size, seed)
        if not len(centroids):
            raise DatasetError("no label holds a pixel of any class, so --class_uniform_pct has nothing to draw: check "
                               "that --dataset fits the files in --data_root.")
        self.pools = {int(train_id): centroids[centroids[:, 1] == train_id][:, (0, 2, 3)]
                      for train_id in np.unique(centroids[:, 1])}
        self.uniform = round(share * dataset_size)
        self.epochs = epochs

    def draws(self, epoch: int) -> list[SampleDraw]:
        if not self._is_uniform(epoch):
            return super().draws(epoch)
        even = self.dataset_size - self.uniform
        chosen: list[tuple[int, tuple[int, int] | None]] = [
            (index, None) for index in self._stretch(self.dataset_size, epoch * even, even).tolist()]
        for train_id, (before, count) in self._turns(epoch).items():
            pool = self.pools[train_id]
            rows = pool[self._stretch(len(pool), before, count, 0, train_id)].tolist()
            chosen += [(index, (x, y)) for index, x, y in rows]
        order = self._rng(epoch, 0).permutation(len(chosen)).tolist()
        return [SampleDraw(chosen[place][0], self.seed, epoch, position, chosen[place][1])
                for position, place in enumerate(order)]

    def class_draws(self, epoch: int) -> dict[int, int]:
        if not self._is_uniform(epoch):
            return {}
        return {train_id: count for train_id, (_, count) in self._turns(epoch).items()}

    def describe(self, names: Sequence[str]) -> list[str]:
        until = "" if self.epochs is None else f" up to epoch {self.epochs}, none after it"
        draws = self.class_draws(0) or dict.fromkeys(self.pools, 0)        # a tiny share of few images is none
        parts = [f"{names[train_id]} {draws[train_id]} of {len(pool)}" for train_id, pool in self.pools.items()]
        lines = [f"class-uniform sampling: {self.uniform} of the {self.dataset_size} draws of an epoch "
                 f"({100 * self.uniform / self.dataset_size:.1f} %){until}",
                 f"draws in the first epoch, of how many points, by class: {', '.join(parts)}"]
        absent = [name for train_id, name in enumerate(names) if train_id not in self.pools]
        if absent:
            lines.append(f"in no label, so that the others share their draws: {', '.join(absent)}")
        return lines

    def _is_uniform(self, epoch: int) -> bool:
        return self.uniform > 0 and (self.epochs is None or epoch < self.epochs)

    def _turns(self, epoch: int) -> dict[int, tuple[int, int]]:
        """Train id -> its class-uniform draws before an epoch and in it, the classes taking turns from the first on."""
        start, stop = epoch * self.uniform, (epoch + 1) * self.uniform
        turns = {}
        for place, train_id in enumerate(self.pools):
            before, after = (-(-(bound - place) // len(self.pools)) for bound in (start, stop))
            turns[train_id] = (max(0, before), max(0, after) - max(0, before))
        return turns

    def _stretch(self, size: int, start: int, count: int, *stream: int) -> np.ndarray:
        """Entries `start` to `start + count` of an endless sequence of shuffled passes over range(size)."""
        first, last = start // size, (start + count - 1) // size
        passes = [np.empty(0, np.int64), *(self._rng(*stream, number).permutation(size)
                                           for number in range(first, last + 1))]
        return np.concatenate(passes)[start - first * size :][:count]


def plan_training(data: SegmentationDataset, seed: int, *, class_uniform_pct: float = 0, class_uniform_tile: int = 1024,
                  max_cu_epoch: int | None = None, coarse_boost_classes: Sequence[int] = (),
                  cache_dir: str | Path | None = None, num_workers: int = 0,
                  skip_bad: bool = False) -> tuple[SegmentationDataset | JoinedDataset, EpochPlan]:
    """Returns what is trained on, with the coarse images where they join, and the plan of its epochs.

    Raises:
        ValueError: the options clash; a label or the root's layout is at fault, as `SegmentationDataset` says.
        OSError: files are missing.
    """
    check_sampling(data.spec, class_uniform_pct, coarse_boost_classes)
    if not class_uniform_pct:
        return data, EpochPlan(len(data), seed)
    folder = Path(cache_dir).expanduser() if cache_dir else default_folder()
    centroids = find_centroids(data, class_uniform_tile, num_workers, folder, skip_bad)
    images: SegmentationDataset | JoinedDataset = data
    if coarse_boost_classes:
        coarse = SegmentationDataset(data.spec, data.root, data.spec.coarse_split, data.transform, data.extras)
        rows = find_centroids(coarse, class_uniform_tile, num_workers, folder, skip_bad)
        chosen = rows[np.isin(rows[:, 1], list(coarse_boost_classes))]
        centroids = np.concatenate([centroids, chosen + np.array([len(data), 0, 0, 0], np.int32)])
        images = JoinedDataset(data, coarse)
    return images, ClassUniformPlan(len(data), seed, centroids, class_uniform_pct, max_cu_epoch)


def check_sampling(spec: DatasetSpec, class_uniform_pct: float, coarse_boost_classes: Iterable[int]) -> None:
    """Refuses what cannot be drawn, before anything is read.

    Raises:
        DatasetError: --coarse_boost_classes without class-uniform draws, for a dataset without coarse labels, or with
            a class that is none of its.
    """
    chosen = tuple(coarse_boost_classes)
    if not chosen:
        return
    if not class_uniform_pct:
        raise DatasetError("--coarse_boost_classes adds to class-uniform draws, and --class_uniform_pct 0 makes none: "
                           "give --class_uniform_pct 0.5, or leave --coarse_boost_classes out.")
    unknown = [train_id for train_id in chosen if not 0 <= train_id < spec.num_classes]
    if unknown:
        raise DatasetError(f"--coarse_boost_classes {','.join(map(str, unknown))}: {spec.title} has the train ids 0 to "
                           f"{spec.num_classes - 1} (see DATASETs.md).")
    if not spec.coarse_split:
        raise DatasetError(f"--coarse_boost_classes: {spec.title} has no coarsely labelled split to draw from. "
                           "Leave the flag out.")
