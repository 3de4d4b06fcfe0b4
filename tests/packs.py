"""A CamVid whose images have several sizes, and its pack, for the tests of both."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tools import pack_dataset

SIZES = [(12, 16), (20, 9), (12, 16), (31, 40), (8, 8), (12, 17)]


def write_camvid(root: Path) -> Path:
    """Writes a training and a validation split; returns the root."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number, (height, width) in enumerate(SIZES):
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            label = rng.integers(0, 12, (height, width), dtype=np.uint8)
            cv2.imwrite(str(root / split / f"{number}.png"), image)
            cv2.imwrite(str(root / f"{split}annot/{number}.png"), label)
    return root


def flags(root: Path, out: Path, *more: str) -> list[str]:
    """Returns the flags that pack the training split."""
    return [
        "--dataset",
        "camvid",
        "--data_root",
        str(root),
        "--out",
        str(out),
        "--num_workers",
        "0",
        *more,
    ]


def write_pack(root: Path, out: Path) -> Path:
    """Packs the training split; returns the folder."""
    assert pack_dataset.main(flags(root, out)) == 0
    return out


def truncate_pair(out: Path) -> None:
    path = out / "pairs/000002.raw"
    path.write_bytes(path.read_bytes()[:-1])


def remove_pair(out: Path) -> None:
    (out / "pairs/000004.raw").unlink()
