"""Batches from worker processes: the same for any number of workers, with readable errors."""
from __future__ import annotations

import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, TypeVar, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from datasets.sampling import EpochSampler, SampleDraw
from datasets.spec import BadSample, DatasetError
from utils import worker_errors
from utils.training import signals

Batch = dict[str, Any]
T = TypeVar("T")
SKIPPED = "skipped"         # key of a sample or batch: messages about the images that it replaces
MAX_SUBSTITUTES = 10

log = logging.getLogger(__name__)


def default_workers() -> int:
    """Returns the number of loader processes: half of the cores per training process, 1 to 4."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(4, cores // 2 // processes))


def train_loader(dataset: Dataset[Batch], sampler: EpochSampler, num_workers: int,
                 start_method: str | None = None, skip_bad: bool = False) -> BatchLoader:
    """Returns a loader of this rank's batches. Its workers persist between epochs.

    Call `sampler.set_position` before iterating; an iteration yields the rest of that epoch.

    Args:
        num_workers: 0 loads in this process.
        start_method: "fork", "forkserver" or "spawn"; Python's default when None.
        skip_bad: an image that is missing or damaged is replaced by another one, logged, and
            counted in `skipped`. Otherwise it is an error.
    """
    substitutes = sampler.plan.dataset_size if skip_bad else 0
    return BatchLoader(
        _ErrorsAsValues(dataset, substitutes),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        persistent_workers=num_workers > 0,
        multiprocessing_context=start_method if num_workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def eval_loader(dataset: Dataset[Batch], num_workers: int,
                indices: Sequence[int] | None = None) -> DataLoader[Batch]:
    """Returns a loader of batches of one image, whose sizes may differ.

    Args:
        indices: images to load, in this order; all when None.
    """
    subset = dataset if indices is None else Subset(dataset, indices)
    return BatchLoader(
        _ErrorsAsValues(subset),
        batch_size=1,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )


def load_items(dataset: Dataset[T], num_workers: int, indices: Sequence[int]) -> Iterator[T]:
    """Yields `dataset[index]` for each of the indices in order, computed in worker processes.

    Raises:
        DatasetError: as `BatchLoader`.
    """
    loader = BatchLoader(
        _ErrorsAsValues(Subset(dataset, indices)),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_identity,
    )
    yield from cast(Iterator[T], iter(loader))


def _identity(sample: T) -> T:
    return sample


def collate(samples: list[Batch | DatasetError]) -> Batch | DatasetError:
    """Stacks samples into a batch.

    Returns:
        image: (N, 3, H, W) uint8, channels last in memory; label: (N, H, W) uint8; name: list of
        str; other entries as torch's `default_collate` returns them. If a sample is an error, it is
        returned instead of a batch; if the images differ in size, an error that says so.
    """
    batch: list[Batch] = []
    skipped: list[str] = []
    for sample in samples:
        if isinstance(sample, DatasetError):
            return sample
        skipped += sample.pop(SKIPPED, [])
        # (H, W, 3) is contiguous, so stacking copies memory in order
        batch.append({**sample, "image": sample["image"].permute(1, 2, 0)})
    sizes = {tuple(sample["image"].shape[:2]): sample["name"] for sample in batch}
    if len(sizes) > 1:
        examples = ", ".join(
            f"{name} is {height}x{width}" for (height, width), name in sizes.items())
        return DatasetError(f"images of several sizes cannot share a batch: {examples}. "
                            "Crop them to one size (--crop_size) or load one at a time.")
    stacked: Batch = default_collate(batch)
    stacked["image"] = stacked["image"].permute(0, 3, 1, 2)
    if skipped:
        stacked[SKIPPED] = skipped
    return stacked


class _ErrorsAsValues(Dataset[Any]):
    """Returns the errors of a dataset instead of raising them.

    An error raised in a worker process would reach the user below two stack traces.

    Args:
        substitutes: number of images in the dataset, any of which may replace an image that cannot
            be used; 0 returns the error.
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
        messages = [str(error)]
        for other in islice(draw.substitutes(self.substitutes), MAX_SUBSTITUTES):
            try:
                return {**self.dataset[other], SKIPPED: messages}
            except BadSample as other_error:
                messages.append(str(other_error))
        return DatasetError(f"{len(messages)} images in a row cannot be used, so --on_bad_sample "
                            "skip gives up: is the disk that holds them still there? The first: "
                            f"{messages[0]}")


class BatchLoader(DataLoader[Any]):
    """A loader that raises the errors that `_ErrorsAsValues` returned.

    It draws the seeds of its workers from its own generator, so that starting to iterate does not
    change torch's global random numbers.

    Attributes:
        skipped: message about an image -> how often another image replaced it.
    """

    def __init__(self, dataset: Dataset[Any], **kwargs: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), worker_init_fn=_start_worker,
                         **kwargs)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in self._batches():
            if isinstance(batch, DatasetError):
                raise batch
            if isinstance(batch, dict):
                self._count(batch.pop(SKIPPED, []))
            yield batch

    def _batches(self) -> Iterator[Any]:
        """Yields what the workers return. Raises DatasetError if one of them dies."""
        try:
            # starts the workers
            with self._block_signals():
                batches = super().__iter__()
            yield from batches
        except (RuntimeError, OSError) as error:
            advice = worker_errors.remedy(error)
            if advice is None:
                raise
            raise DatasetError(advice) from error

    def _block_signals(self) -> AbstractContextManager[None]:
        """Delays signals while workers start."""
        if not self.num_workers:
            return nullcontext()
        context = self.multiprocessing_context or multiprocessing
        return signals.block_signals(context.get_start_method())

    def _count(self, skipped: list[str]) -> None:
        for message in skipped:
            if message not in self.skipped:
                # an error, because only the main process shows warnings
                log.error("skipped, another image takes its place: %s", message)
            self.skipped[message] += 1


def _start_worker(worker_id: int) -> None:
    signals.leave_signals_to_parent()
    # the worker processes are the parallelism; torch sets its own threads to 1
    cv2.setNumThreads(0)
