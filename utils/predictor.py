"""One network, ready to parse pictures: evaluation mode, precision, normalisation and inference mode in one place."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.batches import normalise
from utils.inference import Inference
from utils.precision import autocast


class Predictor:
    """Parses uint8 images with a network, which it moves to the device; each call leaves it in evaluation mode.

    Args:
        net: gives `net(images, upsample=False)["main"]`, logits (N, K, h, w) at its own stride.
        precision: "fp32", "bf16" or "fp16", of the network; logits and probabilities are float32 in any case.
        mean, std: of RGB in [0, 1], those that the network was trained with.
        inference: windows, scales and mirroring; whole images at their own size when None.
    """

    def __init__(self, net: nn.Module, device: torch.device, precision: str, mean: Sequence[float],
                 std: Sequence[float], channels_last: bool = False, inference: Inference | None = None) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(device).to(memory_format=layout)
        self.device = device
        self.precision = precision
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = channels_last
        self.inference = inference or Inference("whole")

    def labels(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB, on any device, into train ids (N, H, W) uint8 on the predictor's device."""
        with torch.inference_mode():
            return self.inference.labels(self._logits, self._prepare(images))

    def probabilities(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB into the classes' probabilities (N, K, H, W), float32."""
        with torch.inference_mode():
            return self.inference.probabilities(self._logits, self._prepare(images))

    def logits(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB, whole and at its own size, into float32 logits (N, K, H, W)."""
        with torch.inference_mode():
            return self._logits(self._prepare(images))

    def _prepare(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError("images must be (N, 3, height, width) uint8 RGB, "
                             f"not {tuple(images.shape)} {images.dtype}.")
        return normalise(images.to(self.device, non_blocking=True), self.mean, self.std, self.channels_last)

    def _logits(self, images: Tensor) -> Tensor:
        self.net.eval()                                     # a training loop may have switched it in between
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)       # a batch of windows is laid out anew
        with autocast(self.device, self.precision):
            logits = self.net(images, upsample=False)["main"]
        # Resized here and not in the network: in half precision, rounding would decide between near classes.
        return F.interpolate(logits.float(), size=images.shape[-2:], mode="bilinear", align_corners=True)
