from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.openvino_here import hide_openvino


def picture(path: Path, height: int = 40, width: int = 60) -> Path:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), np.uint8))
    return path


@pytest.fixture(autouse=True, scope="module")
def torch_backend() -> Iterator[None]:
    """Runs networks in torch by default."""
    with pytest.MonkeyPatch.context() as patch:
        hide_openvino(patch)
        yield
