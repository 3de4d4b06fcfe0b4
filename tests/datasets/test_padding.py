"""Crops that hold mostly padding."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from datasets.padding import describe_padding


def samples(folder: Path, *sizes: tuple[int, int]) -> list[datasets.Sample]:
    """Writes an image of each (height, width)."""
    written = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.png"
        assert cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))
        written.append(datasets.Sample(path.stem, path, None, datasets.spec("streets")))
    return written


def test_a_crop_that_small_images_hardly_cover_is_named(tmp_path: Path) -> None:
    # 1.25 x 32 = 40 rows of 128, and 1.25 x 64 = 80 columns of 128: 3,200 of 16,384 pixels
    message = describe_padding(samples(tmp_path, (16, 16), (32, 64)), (128, 128), 1.25)
    assert message.startswith("images of 32x64 cover 20% of a crop of 128x128 at the mean scale of")
    assert "Give --crop_size 32x64" in message


@pytest.mark.parametrize(
    ("crop", "scale"), [((32, 64), 1.25), ((32, 64), 0.75), ((64, 64), 1.0), ((8, 8), 0.1)]
)
def test_crops_that_are_half_covered_are_silent(
    tmp_path: Path, crop: tuple[int, int], scale: float
) -> None:
    # 0.75 covers 24 x 48 of 32 x 64, 56 %; 32 of 64 rows are half of a square; a wide image at
    # a small scale covers 3.2 x 6.4 of 8 x 8, 32 %, and its neighbor of 100x100 all of it
    pictures = samples(tmp_path, (32, 64), *([(100, 100)] if crop == (8, 8) else []))
    assert describe_padding(pictures, crop, scale) == ""


def test_images_that_cannot_be_read_are_left_to_the_loader(tmp_path: Path) -> None:
    pictures = samples(tmp_path, (4, 4), (4, 4))
    pictures[0].image.write_bytes(b"")
    assert "images of 4x4 cover" in describe_padding(pictures, (64, 64), 1.0)
    pictures[1].image.unlink()
    assert describe_padding(pictures, (64, 64), 1.0) == ""
    assert describe_padding([], (64, 64), 1.0) == ""
