"""RandAugment, color and blur of batches on the device, with values drawn by the loader."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.color import LUMA, ColorJitter, GaussianBlur
from transforms.randaugment import RandAugment


class GpuColorAugmentation:
    """`RandAugment`, `ColorJitter` and `GaussianBlur` in two steps: `draw` in the loader, `augment`
    on the device.

    Both steps use the random numbers of the transforms themselves, so a sample looks the same as in
    the loader, apart from rounding: `apply` does not round. The difference is at most 2 of 255
    levels, and at most 0.5 on average. The operations of RandAugment are those of the loader.

    Args:
        jitter, blur, randaugment: the transforms; None leaves a transform out.
    """

    def __init__(self, jitter: ColorJitter | None, blur: GaussianBlur | None,
                 randaugment: RandAugment | None = None) -> None:
        self.jitter = jitter
        self.blur = blur
        self.randaugment = randaugment

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draws the values of a sample.

        Returns:
            `operations`, the text of `RandAugment.draw`, if it is on; `color`, a (3, 4) matrix for
            a crop of mean luma 1; and `blur`, a scalar sigma in pixels, 0 for no blur.
        """
        drawn: dict[str, Any] = {}
        if self.randaugment:
            drawn["operations"] = self.randaugment.draw(rng)
        color = self.jitter.draw(rng) if self.jitter else np.eye(3, 4)
        sigma = self.blur.draw(rng) if self.blur else 0.0
        return {**drawn, "color": torch.from_numpy(color.astype(np.float32)),
                "blur": torch.tensor(sigma)}

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns a batch with its images, and the labels that move with them, augmented.

        Args:
            batch: `image` (N, 3, H, W) and `label` (N, H, W), both uint8 and on the device, and
                the values of `draw`, collated.
        """
        changed = dict(batch)
        if self.randaugment:
            changed["image"], changed["label"] = self.randaugment.apply(
                batch["image"], batch["label"], batch["operations"])
        changed["image"] = self.apply(changed["image"], batch["color"], batch["blur"])
        return changed

    def apply(self, images: Tensor, color: Tensor, blur: Tensor) -> Tensor:
        """Changes the colors of a batch and blurs it.

        Args:
            images: (N, 3, H, W) uint8, on the device.
            color, blur: (N, 3, 4) and (N,), the values of `draw`, stacked.

        Returns:
            (N, 3, H, W) float32 in [0, 255], channels last in memory.
        """
        images = images.float().contiguous(memory_format=torch.channels_last)
        if self.jitter:
            images = jittered(images, color.to(images.device, non_blocking=True))
        if self.blur:
            # images with a sigma of 0 too: skipping them would synchronize with the device
            images = blurred(images, blur.to(images.device, non_blocking=True), self.radius)
        return images

    @property
    def radius(self) -> int:
        """The radius in pixels of the widest Gaussian; 0 without a blur."""
        if self.blur is None:
            return 0
        # for uint8, OpenCV's kernel has 6 sigma + 1 pixels, rounded to an odd number
        return round(6 * self.blur.sigma_max + 1) // 2


def jittered(images: Tensor, color: Tensor) -> Tensor:
    """Transforms the colors of each image, and clips them to [0, 255].

    Args:
        images: (N, 3, H, W) in [0, 255].
        color: (N, 3, 4) matrices, whose last column is in units of the image's mean luma.
    """
    pixels = images.permute(0, 2, 3, 1).flatten(1, 2)                              # (N, pixels, 3)
    # filled on the device: the copy of `new_tensor(LUMA)` would wait for a GPU
    luma = torch.stack([pixels.new_full((), weight) for weight in LUMA])
    mean_luma = pixels.mean(1, keepdim=True) @ luma[:, None]                       # (N, 1, 1)
    offsets = color[:, None, :, 3] * mean_luma                                     # (N, 1, 3)
    changed = torch.baddbmm(offsets, pixels, color[:, :, :3].transpose(1, 2))
    return changed.clamp_(0, 255).unflatten(1, images.shape[2:]).permute(0, 3, 1, 2)


def blurred(images: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    """Blurs each image by a Gaussian, mirrored at the border as OpenCV does.

    Args:
        images: (N, 3, H, W).
        sigmas: (N,) in pixels; 0 changes nothing.
        radius: in pixels, at least that of the widest kernel.
    """
    distance = torch.arange(-radius, radius + 1, device=images.device).abs()
    # with a sigma of 0.001 the neighbors have a weight of exactly 0
    sigmas = sigmas.clamp(min=1e-3)
    # for uint8, OpenCV truncates the kernel at 3 sigma, see `GpuColorAugmentation.radius`
    reach = (6 * sigmas + 1).round().div(2, rounding_mode="floor")                      # (N,)
    kernels = torch.exp(-0.5 * (distance / sigmas[:, None]) ** 2)
    kernels = kernels.where(distance <= reach[:, None], 0)
    kernels = kernels / kernels.sum(1, keepdim=True)                                    # (N, taps)
    # a Gaussian is separable: rows, then columns
    for axis, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = F.pad(images, padding, mode="reflect")
        length = images.shape[axis]
        images = torch.zeros_like(images)
        for tap in range(2 * radius + 1):
            weights = kernels[:, tap].view(-1, 1, 1, 1)
            images.addcmul_(padded.narrow(axis, tap, length), weights)
    return images
