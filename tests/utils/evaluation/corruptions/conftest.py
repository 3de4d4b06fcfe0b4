from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """A smooth colored picture of 90x120 with a bright and a dark square."""
    noise = np.random.default_rng(0).integers(40, 200, (5, 7, 3), np.uint8)
    image = cv2.resize(noise, (120, 90), interpolation=cv2.INTER_CUBIC)
    image[20:40, 20:40], image[50:70, 70:90] = 250, 5
    return image
