"""From a loader's uint8 batch to what the network and the criterion take."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def prepare(batch: dict[str, Any], device: torch.device, mean: tuple[float, ...], std: tuple[float, ...],
            channels_last: bool = False,
            color: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None) -> dict[str, Any]:
    """Moves a batch to the device, changes its colors there if that is left to be done, and normalizes it.

    Args:
        batch: `image` (N, 3, H, W) uint8 RGB, perhaps `label` (N, H, W) uint8; other entries stay as they are.
        mean, std: of each channel, in [0, 1].
        color: (image, batch's `color`, batch's `blur`) -> image in [0, 255], not necessarily whole numbers.

    Returns:
        The batch with `image` in float32 and `label` in int64 on the device.
    """
    ready = dict(batch)
    image = batch["image"].to(device, non_blocking=True)
    if color is not None:
        image = color(image, batch["color"], batch["blur"])
    ready["image"] = normalize(image, mean, std, channels_last)
    if "label" in batch:
        ready["label"] = batch["label"].to(device, non_blocking=True).long()
    return ready


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], channels_last: bool = False) -> Tensor:
    """(N, 3, H, W) in [0, 255] -> float32 (x / 255 - mean) / std, laid out channels last if asked."""
    shift, scale = (torch.tensor(each, device=images.device).mul(255).view(1, 3, 1, 1) for each in (mean, std))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(torch.float32, memory_format=layout, copy=True).sub_(shift).div_(scale)


def denormalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Undoes `normalize`: float (N, 3, H, W) -> uint8."""
    shift, scale = (torch.tensor(each, device=images.device).mul(255).view(1, 3, 1, 1) for each in (mean, std))
    return images.float().mul(scale).add_(shift).round_().clamp_(0, 255).to(torch.uint8)


def grouped(batches: Iterable[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yields consecutive batches of one image size joined to at most `count` batches; the order stays."""
    waiting: list[dict[str, Any]] = []
    for batch in batches:
        if waiting and (len(waiting) == count or waiting[0]["image"].shape[1:] != batch["image"].shape[1:]):
            yield _joined(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    if len(batches) == 1:
        return batches[0]
    return {key: torch.cat([batch[key] for batch in batches]) if isinstance(value, Tensor)
            else [item for batch in batches for item in batch[key]] for key, value in batches[0].items()}


def split(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Cuts a batch into equal parts, in order."""
    size = len(batch["name"]) // parts
    return [{name: value[i * size:(i + 1) * size] for name, value in batch.items()} for i in range(parts)]


def ahead_on_device(batches: Iterable[dict[str, Any]], device: torch.device) -> Iterator[dict[str, Any]]:
    """Yields batches, with tensors on the device if it is a GPU: the next one is copied beside the step's work."""
    if device.type != "cuda":
        yield from batches
        return
    stream, waiting = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = {name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                     for name, value in batch.items()}
            arrived = stream.record_event()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = moved, arrived
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(batch: dict[str, Any], event: torch.cuda.Event) -> dict[str, Any]:
    """Lets the step's stream, not the CPU, wait for the copy."""
    current = torch.cuda.current_stream()
    current.wait_event(event)
    for value in batch.values():
        if isinstance(value, Tensor):
            value.record_stream(current)
    return batch
