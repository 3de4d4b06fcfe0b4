from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from utils.evaluation.evaluator import Prediction
from utils.visualization.rendering import (
    MAX_ENLARGED_HEIGHT,
    MIN_WIDTH,
    SUBFOLDERS,
    Rendering,
    dump_images,
)

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:2] = (128, 64, 128), (70, 130, 180)
# train ids 0 and 1 are the ids 7 and 23 of the label files
RAW_IDS = np.full(256, 255, np.uint8)
RAW_IDS[:2] = 7, 23
SPEC = SimpleNamespace(palette=PALETTE, names=("road", "sky"), to_raw_ids=RAW_IDS)
PREDICTIONS = np.array([[0, 1]], np.uint8).repeat(48, 0).repeat(32, 1)


def prediction(labels: torch.Tensor | None) -> Prediction:
    image = torch.full((3, 48, 64), 100, dtype=torch.uint8)
    return Prediction("frame", image, torch.from_numpy(PREDICTIONS), labels, 0)


def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_are_not() -> None:
    rendering = Rendering(np.zeros((48, 64, 3), np.uint8), PREDICTIONS, PALETTE, SPEC.names)
    assert rendering.image.shape == (288, MIN_WIDTH, 3)
    assert rendering.plain_overlay.shape == rendering.image.shape
    assert rendering.overlay().shape[0] > 288
    assert rendering.side_by_side().shape[1] > 2 * MIN_WIDTH
    large = np.zeros((100, 500, 3), np.uint8)
    assert Rendering(large, large[..., 0], PALETTE, SPEC.names).image is large


@pytest.mark.parametrize(("height", "width"), [(900, 7), (5000, 3), (700, 100), (7, 900), (1, 1)])
def test_no_picture_becomes_enormous_and_all_have_room_for_a_legend(height: int,
                                                                    width: int) -> None:
    image, labels = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    rendering = Rendering(image, labels, PALETTE, SPEC.names)
    for picture in (rendering.overlay(), rendering.side_by_side(), rendering.compare(labels)):
        assert picture.shape[1] >= MIN_WIDTH
        assert picture.shape[0] <= 2 * max(height, MAX_ENLARGED_HEIGHT) + 200


@pytest.mark.parametrize("labeled", [True, False])
def test_a_picture_of_each_kind_is_written(labeled: bool, tmp_path: Path) -> None:
    labels = torch.from_numpy(PREDICTIONS) if labeled else None
    dump_images(tmp_path, prediction(labels), SPEC)
    written = {path.parent.name for path in tmp_path.glob("*/frame.png")}
    assert written == {*SUBFOLDERS} - (set() if labeled else {"panels"})
    ids = cv2.imread(str(tmp_path / "label_ids/frame.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(ids, RAW_IDS[PREDICTIONS])
    mask = cv2.imread(str(tmp_path / "colour_masks/frame.png"))[..., ::-1]
    assert np.array_equal(mask, PALETTE[PREDICTIONS])


def test_the_comparison_marks_wrong_pixels_red() -> None:
    image = np.full((60, 400, 3), 100, np.uint8)
    predictions = np.zeros((60, 400), np.uint8)
    rendering = Rendering(image, predictions, PALETTE, SPEC.names)

    def red_pixels(labels: np.ndarray) -> int:
        grid = rendering.compare(labels).astype(int)
        return int((grid[..., 0] - grid[..., 1] > 100).sum())

    assert red_pixels(predictions) == 0
    assert red_pixels(predictions + 1) >= 60 * 400
