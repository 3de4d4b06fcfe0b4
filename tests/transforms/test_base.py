"""Transforms in sequence."""
from __future__ import annotations

import numpy as np

from transforms import Compose

IMAGE = np.zeros((3, 4, 3), np.uint8)
LABEL = np.zeros((3, 4), np.uint8)


def test_only_the_first_transform_gets_the_focus() -> None:
    focuses = []

    def record(image: np.ndarray, label: np.ndarray, focus: object,
               rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        focuses.append(focus)
        return image, label

    Compose([record, record])(IMAGE, LABEL, (3, 4), np.random.default_rng(0))
    assert focuses == [(3, 4), None]


def test_transforms_apply_in_order() -> None:
    def add_one(image: np.ndarray, label: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return image + 1, label

    def double(image: np.ndarray, label: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return image * 2, label

    # (0 + 1) * 2 = 2, not 0 * 2 + 1 = 1
    image, _ = Compose([add_one, double])(IMAGE, LABEL, None, np.random.default_rng(0))
    assert (image == 2).all()
