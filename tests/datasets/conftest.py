"""A CamVid of a few tiny images, written to a temporary folder."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def write_camvid(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes `count` pairs per split and returns the root."""

    def write(
        count: int = 4, size: tuple[int, int] = (12, 16), splits: tuple[str, ...] = ("train", "val")
    ) -> Path:
        rng = np.random.default_rng(0)
        for split in splits:
            for folder in (split, f"{split}annot"):
                (tmp_path / folder).mkdir()
            for number in range(count):
                image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                label = rng.integers(0, 11, size, dtype=np.uint8)
                assert cv2.imwrite(str(tmp_path / split / f"{split}_{number}.png"), image)
                assert cv2.imwrite(str(tmp_path / f"{split}annot" / f"{split}_{number}.png"), label)
        return tmp_path

    return write
