from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.spec import DatasetError
from tools.import_labels.shapes import (
    EMPTY,
    Shape,
    Window,
    clip,
    ellipse,
    fill_ring,
    reading,
    rectangle,
    ring,
    rotated,
    union,
)


def filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """A ring as a mask of the whole image."""
    mask = np.zeros((height, width), bool)
    window = fill_ring(points, height, width)
    mask[window.slices] = window.mask
    return mask


def test_a_ring_covers_the_pixels_whose_center_lies_inside() -> None:
    # the centers 0.5, 1.5, 2.5: x from 0.6 to 2.6 holds 1.5 and 2.5, y from 0.4 to 1.4 holds 0.5
    expected = np.zeros((3, 4), bool)
    expected[0, 1:3] = True
    assert (filled(rectangle(0.6, 0.4, 2.6, 1.4), 3, 4) == expected).all()


def test_a_triangle_is_half_of_its_square() -> None:
    # below the diagonal y = x: of row i the centers j + 0.5 < i + 0.5, which are j = 0 .. i - 1;
    # the center on the edge belongs to the right side
    triangle = filled(ring([(0, 0), (4, 4), (0, 4)]), 4, 4)
    assert triangle.sum(axis=1).tolist() == [0, 1, 2, 3]
    other = filled(ring([(0, 0), (4, 0), (4, 4)]), 4, 4)
    assert (triangle ^ other).all()


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.tuples(st.floats(-5, 15), st.floats(-5, 12)), min_size=1, max_size=7))
def test_a_ring_agrees_with_the_even_odd_rule_at_each_center(
        points: list[tuple[float, float]]) -> None:
    height, width = 7, 9
    expected = np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            x, y, crossings = j + 0.5, i + 0.5, 0
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
                if min(y0, y1) <= y < max(y0, y1):
                    crossings += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
            expected[i, j] = crossings % 2
    assert (filled(np.array(points), height, width) == expected).all()


def test_rings_of_one_shape_are_united_and_a_ring_that_crosses_itself_is_not() -> None:
    twice = Shape("a", (rectangle(0, 0, 4, 4), rectangle(2, 0, 6, 4)))
    window, beyond = twice.fill(4, 8)
    assert (window.mask.sum(), beyond) == (24, 0)
    # a bow tie whose halves meet in the middle, and nothing between them
    bow = filled(ring([(0, 0), (8, 8), (8, 0), (0, 8)]), 8, 8)
    assert bow[4, 0] and bow[4, 7] and not bow[0, 4]


def test_what_reaches_beyond_the_image_is_cut_off_and_measured() -> None:
    window, beyond = Shape("a", (rectangle(-3, 2, 5, 20),)).fill(8, 8)
    assert window.mask.shape == (6, 5) and window.mask.all() and beyond == 12
    window, beyond = Shape("a", (rectangle(9, 0, 12, 4),)).fill(8, 8)
    assert window.mask.sum() == 0 and beyond == 4
    mask = Shape("a", mask=lambda: Window(-2, 6, np.ones((4, 4), bool)))
    window, beyond = mask.fill(8, 8)
    assert (window.top, window.left, window.mask.shape, beyond) == (0, 6, (2, 2), 2)
    assert clip(Window(9, 0, np.ones((2, 2), bool)), 8, 8).mask.size == 0


@pytest.mark.parametrize("points", [[(1, 1)], [(1, 1), (5, 1)], [(1, 1), (5, 5), (1, 1)]])
def test_points_and_lines_cover_nothing(points: list[tuple[float, float]]) -> None:
    assert not Shape("a", (ring(points),)).fill(8, 8)[0].mask.any()


def test_no_windows_are_an_empty_union() -> None:
    assert union([]) is EMPTY
    assert Shape("a").fill(4, 4)[0] is EMPTY


def test_an_ellipse_has_its_area_and_a_turned_box_keeps_it() -> None:
    area = filled(ellipse(50, 50, 30, 20), 100, 100).sum()
    assert area == pytest.approx(np.pi * 30 * 20, rel=0.005)
    box = rectangle(20, 45, 80, 55)
    # a quarter turn exchanges width and height
    assert (filled(rotated(box, 90), 100, 100) == filled(rectangle(45, 20, 55, 80), 100, 100)).all()
    # clockwise on the screen: the right end moves down
    turned = filled(rotated(box, 30), 100, 100)
    assert turned[62, 72] and not turned[38, 72]


@pytest.mark.parametrize(("points", "message"), [
    ([1, 2, 3], "pairs of x and y"),
    ([[1, 2], [float("nan"), 3]], "not a finite number"),
    ([[1, 2], [1e9, 3]], "1e[+]09 pixels"),
    (np.zeros((0, 2)), "it has no points"),
])
def test_points_that_are_no_outline_are_refused(points: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ring(points)


def test_a_record_that_lacks_something_is_named() -> None:
    with pytest.raises(DatasetError, match=r"a.json: shape 3 .*'points' is missing.*export"), \
            reading("a.json: shape 3"):
        {}["points"]
