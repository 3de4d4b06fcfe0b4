from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.export_labels.regions import LEAST_IOU, outline, regions
from tools.import_labels.drawing import LAST, Tally, draw
from tools.import_labels.shapes import Shape, Window, fill_ring

IDS = {"0": 0, "1": 1, "2": 2}


def drawn(label: np.ndarray) -> np.ndarray:
    """The label map that the outlines of all regions draw."""
    shapes = [Shape(str(region.train_id), (outline(region.window),)) for region in regions(label)]
    return draw(shapes, IDS, label.shape, LAST, Tally())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_regions_of_small_maps_are_drawn_as_they_were(seed: int) -> None:
    # regions of fewer than 100 pixels cannot lose one and keep an IoU of 0.99
    label = np.random.default_rng(seed).integers(0, 3, (9, 10), np.uint8)
    label[label == 2] = 255 if seed % 2 else 2
    if seed % 2:
        label = np.kron(label, np.ones((2, 2), np.uint8))[:9, :10]
    expected = np.where(label == 255, drawn(label), label)
    assert (drawn(label) == expected).all()


def test_what_lies_in_a_hole_is_drawn_later() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[1:8, 1:8], label[3:6, 3:6] = 1, 2
    label[4, 4] = 0
    assert [region.train_id for region in regions(label)] == [0, 1, 2, 0]
    assert (drawn(label) == label).all()


def test_small_regions_are_left_to_what_surrounds_them() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[4, 4:6] = 1
    assert [region.train_id for region in regions(label, smallest=3)] == [0]
    assert [region.train_id for region in regions(label, smallest=2)] == [0, 1]


@pytest.mark.parametrize("radius", [3, 10, 40])
def test_a_disc_has_few_points_and_keeps_its_pixels(radius: int) -> None:
    ys, xs = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    disc = ys ** 2 + xs ** 2 <= radius ** 2
    points = outline(Window(5, 7, disc))
    filled = np.zeros((120, 120), bool)
    window = fill_ring(points, 120, 120)
    filled[window.slices] = window.mask
    expected = np.zeros((120, 120), bool)
    expected[5:5 + len(disc), 7:7 + len(disc)] = disc
    assert (filled & expected).sum() / (filled | expected).sum() >= LEAST_IOU
    assert len(points) <= 4 * radius + 20
