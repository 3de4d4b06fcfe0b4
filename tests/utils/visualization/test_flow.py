from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from utils.visualization import flow


def test_flows_are_colored_with_their_stride_and_length() -> None:
    # 1.5 cells of 8 pixels to the right
    field = np.zeros((2, 8, 16), np.float32)
    field[0] = 3.0
    gated = np.concatenate([field, -field])
    single, coarse, fine = flow.color_flows({"a": field, "b": gated}, 128)
    assert single.title == "Flow 1, stride 8"
    assert "(8 × 16)" in single.note and "12.0 pixels" in single.note
    assert "coarse map" in coarse.note and "fine map" in fine.note
    assert single.colors.shape == (128, 256, 3)
    assert (single.colors == (255, 0, 0)).all() and (fine.colors == (0, 255, 255)).all()


def test_the_length_of_full_saturation_only_grows_in_a_video() -> None:
    max_lengths: list[float] = []
    pixels = []
    for length in (1, 3, 2):
        field = np.full((2, 4, 8), length, np.float32)
        pixels.append(flow.color_flows({"a": field}, 8, max_lengths)[0].pixels)
    assert pixels == pytest.approx([2 ** 0.5 / 2, 3 * 2 ** 0.5 / 2, 3 * 2 ** 0.5 / 2])


def test_flows_are_recorded_while_the_whole_image_is_predicted() -> None:
    recorded: dict[str, torch.Tensor] = {}
    shapes = []

    @contextmanager
    def record_flows(net: Any) -> Iterator[dict[str, torch.Tensor]]:
        yield recorded

    def run_network(images: torch.Tensor) -> None:
        shapes.append(tuple(images.shape))
        recorded["fam"] = torch.ones(1, 2, 3, 4)

    predictor: Any = SimpleNamespace(net=None, run_network=run_network)
    flows = flow.predict_flows(predictor, record_flows, np.zeros((6, 8, 3), np.uint8))
    assert shapes == [(1, 3, 6, 8)]
    assert flows["fam"].shape == (2, 3, 4)


def test_a_sheet_shows_the_image_and_each_flow() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    colored = flow.color_flows({"a": np.ones((2, 4, 8), np.float32)}, 80)
    two = flow.sheet(image, colored)
    three = flow.sheet(image, colored * 2)
    assert two.shape[1] > 2 * 80 and three.shape[1] > 3 * 80
    assert two.shape[0] == three.shape[0]


@pytest.mark.parametrize(("height", "width"), [(900, 7), (7, 900), (1, 1), (5000, 3)])
def test_flows_of_long_and_of_tiny_pictures_are_drawn(height: int, width: int) -> None:
    still = np.zeros((2, -(-height // 4), -(-width // 4)), np.float32)
    drawn = flow.color_flows({"flow": still}, width)
    assert all(field.colors.shape[0] <= max(flow.MAX_FLOW_HEIGHT, height) for field in drawn)
    picture = flow.sheet(np.zeros((height, width, 3), np.uint8), drawn)
    assert picture.shape[1] >= 2 * flow.MIN_FLOW_WIDTH
    assert picture.shape[0] <= height + 100
