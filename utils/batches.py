"""Batches: moved to the device, normalized, split and concatenated."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]
Triple = tuple[float, ...]      # of the three channels
# changes `image` and `label` of a batch, both uint8 and on the device; images may become float32
Augment = Callable[[Batch], Batch]


def prepare(batch: Batch, device: torch.device, mean: Triple, std: Triple,
            channels_last: bool = False,
            augment: Augment | None = None) -> Batch:
    """Moves a batch to the device, augments it there if asked, and normalizes it.

    Args:
        batch: `image` (N, 3, H, W) uint8 RGB, perhaps `label` (N, H, W) uint8; other entries stay
            as they are.
        mean, std: of each channel, for values in [0, 1].
        augment: augmentation on the device, which leaves images in [0, 255].

    Returns:
        The batch with `image` in float32 and `label` in int64 on the device.
    """
    ready = dict(batch)
    for name in batch.keys() & {"image", "label"}:
        ready[name] = batch[name].to(device, non_blocking=True)
    if augment is not None:
        ready = augment(ready)
    ready["image"] = normalize(ready["image"], mean=mean, std=std, channels_last=channels_last)
    if "label" in ready:
        ready["label"] = ready["label"].long()
    return ready


def normalize(images: Tensor, mean: Triple, std: Triple, channels_last: bool = False) -> Tensor:
    """Maps (N, 3, H, W) in [0, 255] to float32 (x / 255 - mean) / std.

    Args:
        mean, std: of each channel, for values in [0, 1].
        channels_last: the memory format of the result.
    """
    shift, scale = _levels(mean, images.device), _levels(std, images.device)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    floats = images.to(torch.float32, memory_format=memory_format, copy=True)
    return floats.sub_(shift).div_(scale)


def denormalize(images: Tensor, mean: Triple, std: Triple) -> Tensor:
    """Inverts `normalize`: float (N, 3, H, W) -> uint8."""
    shift, scale = _levels(mean, images.device), _levels(std, images.device)
    return images.float().mul(scale).add_(shift).round_().clamp_(0, 255).to(torch.uint8)


def _levels(values: Triple, device: torch.device) -> Tensor:
    """Converts three values in [0, 1] to a tensor (1, 3, 1, 1) in [0, 255]."""
    # filled on the device: the copy of `torch.tensor(values, device=device)` would wait for a GPU
    filled = [torch.full((), value, device=device) for value in values]
    return torch.stack(filled).mul(255).view(1, 3, 1, 1)


def grouped(batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """Concatenates up to `count` consecutive batches of the same image size, in order."""
    group: list[Batch] = []
    for batch in batches:
        is_full = len(group) == count
        if group and (is_full or group[0]["image"].shape[1:] != batch["image"].shape[1:]):
            yield _concatenated(group)
            group = []
        group.append(batch)
    if group:
        yield _concatenated(group)


def _concatenated(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    joined: Batch = {}
    for key, value in batches[0].items():
        values = [batch[key] for batch in batches]
        is_tensor = isinstance(value, Tensor)
        joined[key] = torch.cat(values) if is_tensor else list(chain.from_iterable(values))
    return joined


def split(batch: Batch, count: int) -> list[Batch]:
    """Splits a batch into `count` micro-batches of equal size, in order."""
    size = len(batch["name"]) // count
    return [{key: value[i * size:(i + 1) * size] for key, value in batch.items()}
            for i in range(count)]


def ahead_on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yields batches with their tensors on the device.

    On a GPU the next batch is copied, on a stream of its own, while the step computes.
    """
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)
    copied = None
    for batch in batches:
        with torch.cuda.stream(stream):
            on_device = {key: value.to(device, non_blocking=True)
                         if isinstance(value, Tensor) else value for key, value in batch.items()}
            event = stream.record_event()
        if copied is not None:
            yield _wait_for_copy(*copied)
        copied = on_device, event
    if copied is not None:
        yield _wait_for_copy(*copied)


def _wait_for_copy(batch: Batch, event: torch.cuda.Event) -> Batch:
    """Makes the step's stream, not the CPU, wait for the copy."""
    current = torch.cuda.current_stream()
    current.wait_event(event)
    for value in batch.values():
        if isinstance(value, Tensor):
            # the memory must not be reused before the step's stream is done with it
            value.record_stream(current)
    return batch
