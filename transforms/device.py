"""Color and blur of whole batches on the device, by the values that the loader drew for each sample."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.color import LUMA, ColorJitter, GaussianBlur


class GpuColorAugmentation:
    """What a `Compose` does to color, in two halves: `draw` in the loader, `apply` on the device.

    The draws are those that the transforms themselves would have made, so a sample looks the same either way up to
    rounding: `apply` rounds nothing, and stays within 2 of the 255 levels, on average within 0.5.

    Args:
        jitter, blur: None leaves it out.
    """

    def __init__(self, jitter: ColorJitter | None, blur: GaussianBlur | None) -> None:
        self.jitter = jitter
        self.blur = blur

    def draw(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Returns `color`, a (3, 4) matrix for a crop of mean luma 1, and `blur`, a sigma in pixels, 0 for none."""
        color = self.jitter.draw(rng) if self.jitter else np.eye(3, 4)
        sigma = self.blur.draw(rng) if self.blur else 0.0
        return {"color": torch.from_numpy(color.astype(np.float32)), "blur": torch.tensor(sigma)}

    def apply(self, images: Tensor, color: Tensor, blur: Tensor) -> Tensor:
        """Changes a batch.

        Args:
            images: (N, 3, H, W) uint8, on the device.
            color, blur: (N, 3, 4) and (N,), as the loader stacked them.

        Returns:
            (N, 3, H, W) float32 in [0, 255], channels last in memory.
        """
        images = images.float().contiguous(memory_format=torch.channels_last)
        if self.jitter:
            images = jittered(images, color.to(images.device, non_blocking=True))
        if self.blur:                                       # all of them: to choose, the host would wait for the device
            images = blurred(images, blur.to(images.device, non_blocking=True), self.radius)
        return images

    @property
    def radius(self) -> int:
        """The reach in pixels of the widest Gaussian, as OpenCV cuts it for uint8."""
        return (round(6 * self.blur.sigma_max + 1) | 1) // 2 if self.blur else 0


def jittered(images: Tensor, color: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 255] by each image's (3, 4) matrix, whose last column counts in mean lumas; clipped."""
    pixels = images.permute(0, 2, 3, 1).flatten(1, 2)                                   # (N, H * W, 3)
    mean_luma = pixels.mean(1, keepdim=True) @ pixels.new_tensor(LUMA)[:, None]         # (N, 1, 1)
    changed = torch.baddbmm(color[:, None, :, 3] * mean_luma, pixels, color[:, :, :3].transpose(1, 2))
    return changed.clamp_(0, 255).unflatten(1, images.shape[2:]).permute(0, 3, 1, 2)


def blurred(images: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    """Blurs each of (N, 3, H, W) by its own Gaussian, mirrored at the border as OpenCV does.

    Args:
        sigmas: (N,) in pixels; 0 changes nothing.
        radius: no kernel reaches further.
    """
    distance = torch.arange(-radius, radius + 1, device=images.device).abs()
    sigmas = sigmas.clamp(min=1e-3)                         # whose neighbors weigh exactly nothing
    reach = (6 * sigmas + 1).round().div(2, rounding_mode="floor")                      # (N,): 3 sigma, as for uint8
    kernels = torch.exp(-0.5 * (distance / sigmas[:, None]) ** 2).where(distance <= reach[:, None], 0)
    kernels = kernels / kernels.sum(1, keepdim=True)                                    # (N, 2 * radius + 1)
    for axis, pad in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded, length = F.pad(images, pad, mode="reflect"), images.shape[axis]
        images = torch.zeros_like(images)
        for tap in range(2 * radius + 1):
            images.addcmul_(padded.narrow(axis, tap, length), kernels[:, tap].view(-1, 1, 1, 1))
    return images
