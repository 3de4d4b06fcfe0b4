"""Batches from worker processes: the same ones for any number of workers, and errors that read as they were written."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from datasets.reader import SegmentationDataset
from datasets.sampling import PlanSampler
from datasets.spec import DatasetError

Batch = dict[str, Any]
T = TypeVar("T")


def default_workers() -> int:
    """Returns half of the cores that this process may use, shared among the processes of this host; 1 to 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def train_loader(dataset: Dataset[Batch], sampler: PlanSampler, num_workers: int,
                 start_method: str | None = None) -> DataLoader[Batch]:
    """Returns a loader of this rank's batches; workers live on between epochs.

    Set the sampler's position, then iterate: once per epoch.

    Args:
        num_workers: 0 loads in this process.
        start_method: "fork", "forkserver" or "spawn"; Python's own choice when None.
    """
    return _BatchLoader(_Guarded(dataset), batch_sampler=sampler, num_workers=num_workers, collate_fn=collate,
                        worker_init_fn=_start_worker, persistent_workers=num_workers > 0,
                        multiprocessing_context=start_method if num_workers else None,
                        pin_memory=torch.cuda.is_available())


def eval_loader(dataset: SegmentationDataset, num_workers: int,
                indices: Sequence[int] | None = None) -> DataLoader[Batch]:
    """Returns a loader of single images, whose sizes may differ: each of `indices` (all when None) once, in order."""
    subset: Dataset[Batch] = dataset if indices is None else Subset(dataset, indices)
    return _BatchLoader(_Guarded(subset), batch_size=1, num_workers=num_workers, collate_fn=collate,
                        worker_init_fn=_start_worker, pin_memory=torch.cuda.is_available())


def label_loader(dataset: Dataset[T], num_workers: int, indices: Sequence[int]) -> DataLoader[T]:
    """Returns a loader of `dataset[index]`, whatever that is, for each of the indices, once and in order."""
    return _BatchLoader(_Guarded(Subset(dataset, indices)), batch_size=None, num_workers=num_workers,
                        collate_fn=_as_it_is, worker_init_fn=_start_worker)


def _as_it_is(sample: T) -> T:
    return sample


def collate(samples: list[Batch | DatasetError]) -> Batch | DatasetError:
    """Stacks samples: image (N, 3, H, W) uint8 channels last in memory, label (N, H, W) uint8, name list of str.

    Errors of the dataset pass through; images of several sizes become one.
    """
    batch = []
    for sample in samples:
        if isinstance(sample, DatasetError):
            return sample
        batch.append({**sample, "image": sample["image"].permute(1, 2, 0)})     # (H, W, 3), as it lies in memory
    sizes = {tuple(sample["image"].shape[:2]): sample["name"] for sample in batch}
    if len(sizes) > 1:
        found = ", ".join(f"{name} is {height}x{width}" for (height, width), name in sizes.items())
        return DatasetError(f"images of several sizes cannot share a batch: {found}. "
                            "Crop them to one size (--crop_size) or load one at a time.")
    stacked: Batch = default_collate(batch)
    stacked["image"] = stacked["image"].permute(0, 3, 1, 2)
    return stacked


class _Guarded(Dataset[Any]):
    """Returns a dataset's error instead of raising it: a worker would bury its message under two stack traces."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except DatasetError as error:
            return error


class _BatchLoader(DataLoader[Any]):
    """Raises what `_Guarded` passed on. Draws its workers' seeds from a generator of its own, never from torch's global
    one, so that starting to iterate changes nothing for the network.
    """

    def __init__(self, dataset: Dataset[Any], **kwargs: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), **kwargs)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DatasetError):
                raise batch
            yield batch


def _start_worker(worker_id: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)            # Ctrl-C is the main process's to handle
    cv2.setNumThreads(0)                                    # the workers are the parallelism; torch sets its own to 1
