from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def picture(path: Path, height: int = 40, width: int = 60) -> Path:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), np.uint8))
    return path
