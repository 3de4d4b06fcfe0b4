from __future__ import annotations

import numpy as np
import pytest

from tools.import_labels.drawing import IGNORE, LAST, SMALLEST, Tally, draw
from tools.import_labels.shapes import Shape, rectangle

IDS = {"road": 0, "car": 1}
ROAD, CAR = rectangle(0, 0, 8, 4), rectangle(2, 2, 4, 6)


def shapes(*named: tuple[str, np.ndarray], order: int = 0) -> list[Shape]:
    return [Shape(name, (outline,), order=order) for name, outline in named]


@pytest.mark.parametrize(("overlap", "expected"), [(LAST, 0), (SMALLEST, 1), (IGNORE, 255)])
def test_one_rule_decides_where_two_classes_overlap(overlap: str, expected: int) -> None:
    tally = Tally()
    label = draw(shapes(("car", CAR), ("road", ROAD)), IDS, (8, 8), overlap, tally)
    # the car covers 2 x 4 pixels, of which 2 x 2 lie on the road
    assert (label[2:4, 2:4] == expected).all() and label[5, 3] == 1 and label[7, 7] == 255
    assert sum(tally.overlaps.values()) == 4 and tally.overlapping_images == 1
    assert tally.unlabeled == 64 - 32 - 4
    assert tally.pixels[0] + tally.pixels[1] == (32 if expected == 255 else 36)


def test_a_higher_order_lies_on_top() -> None:
    upper = shapes(("car", CAR), order=1)
    label = draw([*upper, *shapes(("road", ROAD))], IDS, (8, 8), LAST, Tally())
    assert (label[2:4, 2:4] == 1).all()


def test_shapes_of_one_class_do_not_contest_a_pixel() -> None:
    tally = Tally()
    draw(shapes(("car", CAR), ("car", CAR)), IDS, (8, 8), IGNORE, tally)
    assert not tally.overlaps and tally.pixels[1] == 8


def test_names_without_a_class_become_ignored_areas() -> None:
    tally = Tally()
    drawn = shapes(("road", ROAD), ("dog", CAR), ("__ignore__", rectangle(6, 0, 8, 1)))
    label = draw(drawn, IDS, (8, 8), LAST, tally, background=1)
    assert (label[2:6, 2:4] == 255).all() and (label[0, 6:] == 255).all() and label[7, 7] == 1
    assert tally.without_class == {"dog": 1}
    assert tally.overlaps == {(255, 0): 6}


def test_shapes_beyond_the_image_and_between_pixels_are_counted() -> None:
    drawn = shapes(("car", rectangle(6, 6, 12, 12)), ("car", rectangle(20, 0, 24, 4)),
                   ("car", rectangle(1.6, 0, 2.4, 8)), ("car", rectangle(-0.5, 0, 1, 8.5)))
    tally = Tally()
    draw(drawn, IDS, (8, 8), LAST, tally)
    # the last one ends within a pixel of the border, as tools let outlines do
    assert (tally.partly_outside, tally.outside, tally.without_pixels) == (1, 1, 1)
