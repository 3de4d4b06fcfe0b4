"""Tiny pairs of images and labels, laid out as the datasets are."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_pair(root: Path, image: str, label: str | None, raw_id: int = 7) -> None:
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / image), np.full((4, 6, 3), 50, np.uint8))
    if label is not None:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / label), np.full((4, 6), raw_id, np.uint8))


def write_cityscapes(
    root: Path, images: str = "leftImg8bit", labels: str = "gtFine", suffix: str = ".png"
) -> None:
    for split in ("train", "val", "test"):
        for number, city in enumerate(("zurich", "aachen")):
            stem = f"{city}_{number:06}_000019"
            write_pair(
                root,
                f"{images}/{split}/{city}/{stem}_leftImg8bit{suffix}",
                f"{labels}/{split}/{city}/{stem}_gtFine_labelIds.png",
            )
