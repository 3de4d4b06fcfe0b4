from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from tools.benchmark import pair


def test_the_pair_that_is_measured_has_as_many_bytes_as_a_frame_of_cityscapes(
    tmp_path: Path,
) -> None:
    image, label = pair.cityscapes_sized(None)
    pair.write_cityscapes(tmp_path, image, label, 1)
    data = datasets.build("cityscapes", tmp_path, "train")
    assert 2.0e6 <= data.samples[0].image.stat().st_size <= 2.6e6
    assert (data.read(0)[0] == image).all()
    noise = tmp_path / "noise.png"
    cv2.imwrite(str(noise),
                np.random.default_rng(0).integers(0, 256, (1024, 2048, 3), dtype=np.uint8))
    with pytest.raises(
        ValueError, match=r"noise\.png: with noise of sigma 0\.00 its PNG has 6,.*another --picture"
    ):
        pair.cityscapes_sized(noise)
