"""Folders of drawn classes: a shape of one color on a gray background, each image another."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

# class -> color (BGR) and number of corners; 0 for a disc
SHAPES = {
    "blue_disc": ((200, 60, 40), 0),
    "green_square": ((50, 190, 60), 4),
    "red_triangle": ((40, 50, 210), 3),
}


def draw(folder: Path, count: int, seed: int, side: int = 40) -> None:
    """Writes `count` images of each class into a folder of class folders."""
    rng = np.random.default_rng(seed)
    for name, (color, corners) in SHAPES.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = np.full((side, side + 8, 3), rng.integers(90, 160), np.uint8)
            center, radius = rng.integers(14, side - 12, 2), int(rng.integers(8, 13))
            if corners:
                turns = rng.uniform() + np.arange(corners) / corners
                points = np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], 1)
                outline = np.rint(center + radius * points).astype(np.int32)
                cv2.fillPoly(image, [outline], color)
            else:
                cv2.circle(image, center.tolist(), radius, color, cv2.FILLED)
            noise = rng.normal(0, 8, image.shape)
            noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{index}.png"), noisy)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/` of 3 x 8 images and `val/` of 3 x 4."""
    root = tmp_path_factory.mktemp("shapes")
    draw(root / "train", 8, seed=0)
    draw(root / "val", 4, seed=1)
    return root


@pytest.fixture
def command(shapes: Path, tmp_path: Path) -> list[str]:
    """Six steps of eight images in two epochs, float32."""
    flags = ("--arch dfnetv1 --crop_size 32 --max_epoch 2 --global_batch 8 --num_workers 0 "
             "--precision fp32 --log_every 1 --exp run")
    return [*flags.split(), "--data_root", str(shapes), "--ckpt", str(tmp_path),
            "--out", str(tmp_path / "dfnetv1.pth")]
