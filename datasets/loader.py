"""Batches from worker processes: the same ones for any number of workers, and errors that read as they were written."""
from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from datasets.reader import SegmentationDataset
from datasets.sampling import EpochSampler, SampleDraw
from datasets.spec import BadSample, DatasetError
from utils.training import signals

Batch = dict[str, Any]
T = TypeVar("T")
SKIPPED = "skipped"                                         # of a sample or batch: what was wrong with those before it
MOST_SUBSTITUTES = 10

log = logging.getLogger(__name__)


def default_workers() -> int:
    """Returns half of the cores that this process may use, shared among the processes of this host; 1 to 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def train_loader(dataset: Dataset[Batch], sampler: EpochSampler, num_workers: int, start_method: str | None = None,
                 skip_bad: bool = False) -> BatchLoader:
    """Returns a loader of this rank's batches; workers live on between epochs.

    Set the sampler's position, then iterate: once per epoch.

    Args:
        num_workers: 0 loads in this process.
        start_method: "fork", "forkserver" or "spawn"; Python's own choice when None.
        skip_bad: another image takes the place of one that went away or is damaged; it is logged and counted in
            `skipped`. Otherwise such an image is an error.
    """
    guarded = _ErrorsAsValues(dataset, sampler.plan.dataset_size if skip_bad else 0)
    return BatchLoader(guarded, batch_sampler=sampler, num_workers=num_workers, collate_fn=collate,
                       worker_init_fn=_start_worker, persistent_workers=num_workers > 0,
                       multiprocessing_context=start_method if num_workers else None,
                       pin_memory=torch.cuda.is_available())


def eval_loader(dataset: SegmentationDataset, num_workers: int,
                indices: Sequence[int] | None = None) -> DataLoader[Batch]:
    """Returns a loader of single images, whose sizes may differ: each of `indices` (all when None) once, in order."""
    subset: Dataset[Batch] = dataset if indices is None else Subset(dataset, indices)
    return BatchLoader(_ErrorsAsValues(subset), batch_size=1, num_workers=num_workers, collate_fn=collate,
                       worker_init_fn=_start_worker, pin_memory=torch.cuda.is_available())


def label_loader(dataset: Dataset[T], num_workers: int, indices: Sequence[int]) -> DataLoader[T]:
    """Returns a loader of `dataset[index]`, whatever that is, for each of the indices, once and in order."""
    return BatchLoader(_ErrorsAsValues(Subset(dataset, indices)), batch_size=None, num_workers=num_workers,
                       collate_fn=_as_it_is, worker_init_fn=_start_worker)


def _as_it_is(sample: T) -> T:
    return sample


def collate(samples: list[Batch | DatasetError]) -> Batch | DatasetError:
    """Stacks samples: image (N, 3, H, W) uint8 channels last in memory, label (N, H, W) uint8, name list of str.

    Errors of the dataset pass through; images of several sizes become one.
    """
    batch, skipped = [], []
    for sample in samples:
        if isinstance(sample, DatasetError):
            return sample
        skipped += sample.pop(SKIPPED, [])
        batch.append({**sample, "image": sample["image"].permute(1, 2, 0)})     # (H, W, 3), as it lies in memory
    sizes = {tuple(sample["image"].shape[:2]): sample["name"] for sample in batch}
    if len(sizes) > 1:
        found = ", ".join(f"{name} is {height}x{width}" for (height, width), name in sizes.items())
        return DatasetError(f"images of several sizes cannot share a batch: {found}. "
                            "Crop them to one size (--crop_size) or load one at a time.")
    stacked: Batch = default_collate(batch)
    stacked["image"] = stacked["image"].permute(0, 3, 1, 2)
    return {**stacked, SKIPPED: skipped} if skipped else stacked


class _ErrorsAsValues(Dataset[Any]):
    """Returns a dataset's error instead of raising it: a worker would bury its message under two stack traces.

    Args:
        substitutes: how many images, from the first on, may take the place of one that cannot be used; 0 for none.
    """

    def __init__(self, dataset: Dataset[Any], substitutes: int = 0) -> None:
        self.dataset = dataset
        self.substitutes = substitutes

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except BadSample as error:
            return self._substitute(key, error) if self.substitutes else error
        except DatasetError as error:
            return error

    def _substitute(self, draw: SampleDraw, error: BadSample) -> Batch | DatasetError:
        said = [str(error)]
        for other in islice(draw.substitutes(self.substitutes), MOST_SUBSTITUTES):
            try:
                return {**self.dataset[other], SKIPPED: said}
            except BadSample as again:
                said.append(str(again))
        return DatasetError(f"{len(said)} images in a row cannot be used, so --on_bad_sample skip gives up: is the "
                            f"disk that holds them still there? The first: {said[0]}")


class BatchLoader(DataLoader[Any]):
    """Raises what `_ErrorsAsValues` passed on. Draws its workers' seeds from a generator of its own, never from torch's global
    one, so that starting to iterate changes nothing for the network.

    Attributes:
        skipped: what was wrong with an image -> how often another took its place.
    """

    def __init__(self, dataset: Dataset[Any], **kwargs: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), **kwargs)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        with signals.held():
            batches = super().__iter__()                    # starts the workers
        for batch in batches:
            if isinstance(batch, DatasetError):
                raise batch
            if isinstance(batch, dict):
                self._note(batch.pop(SKIPPED, []))
            yield batch

    def _note(self, skipped: list[str]) -> None:
        for message in skipped:
            if message not in self.skipped:                 # an error, because other processes' warnings are not shown
                log.error("skipped, another image takes its place: %s", message)
            self.skipped[message] += 1


def _start_worker(worker_id: int) -> None:
    signals.ignore()
    cv2.setNumThreads(0)                                    # the workers are the parallelism; torch sets its own to 1
