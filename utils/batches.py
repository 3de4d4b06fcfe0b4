"""From a loader's uint8 batch to what the network and the criterion take."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def prepare(batch: dict[str, Any], device: torch.device, mean: tuple[float, ...], std: tuple[float, ...],
            channels_last: bool = False) -> dict[str, Any]:
    """Moves a batch to the device and normalises it.

    Args:
        batch: `image` (N, 3, H, W) uint8 RGB, perhaps `label` (N, H, W) uint8; other entries stay as they are.
        mean, std: of each channel, in [0, 1].

    Returns:
        The batch with `image` in float32 and `label` in int64 on the device.
    """
    ready = dict(batch)
    ready["image"] = normalise(batch["image"].to(device, non_blocking=True), mean, std, channels_last)
    if "label" in batch:
        ready["label"] = batch["label"].to(device, non_blocking=True).long()
    return ready


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], channels_last: bool = False) -> Tensor:
    """(N, 3, H, W) uint8 -> float32 (x / 255 - mean) / std, laid out channels last if asked."""
    shift, scale = (torch.tensor(each, device=images.device).mul(255).view(1, 3, 1, 1) for each in (mean, std))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(torch.float32, memory_format=layout).sub_(shift).div_(scale)
