"""The table of corruptions, and a dataset whose images are corrupted."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from utils.evaluation.corruptions import camera, weather

SEVERITIES = (1, 2, 3, 4, 5)

Draw = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

# value of --corruption -> (image (H, W, 3) uint8 RGB, severity, generator) -> image
KINDS: dict[str, Draw] = {
    "fog": weather.fog,
    "rain": weather.rain,
    "snow": weather.snow,
    "night": weather.night,
    "motion": camera.motion,
    "defocus": camera.defocus,
    "noise": camera.noise,
    "jpeg": camera.jpeg,
    "contrast": camera.contrast,
}


class Corruption(NamedTuple):
    """A kind of `KINDS` and its severity, 1 to 5."""

    kind: str
    severity: int

    def apply(self, image: np.ndarray, name: str) -> np.ndarray:
        """Returns the corrupted image, the same for the same name, kind and severity.

        Args:
            image: (H, W, 3) uint8 RGB.
            name: of the image in its split.
        """
        key = f"{name}\0{self.kind}\0{self.severity}".encode()
        rng = np.random.default_rng([*hashlib.sha256(key).digest()])
        return KINDS[self.kind](np.ascontiguousarray(image), self.severity, rng)

    def __str__(self) -> str:
        return f"{self.kind}_{self.severity}"


class Corrupted(Dataset[dict[str, Any]]):
    """A split whose images are corrupted when they are read, in the loader's processes.

    Args:
        data: a dataset of dicts with `image` (3, H, W) uint8 and `name`.
    """

    def __init__(self, data: Any, corruption: Corruption) -> None:
        self.data = data
        self.corruption = corruption
        self.spec, self.split, self.root = data.spec, data.split, data.root
        self.samples, self.labeled = data.samples, data.labeled

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: Any) -> dict[str, Any]:
        sample = self.data[key]
        image = sample["image"].permute(1, 2, 0).numpy()
        corrupted = torch.from_numpy(self.corruption.apply(image, sample["name"]))
        return {**sample, "image": corrupted.permute(2, 0, 1)}
