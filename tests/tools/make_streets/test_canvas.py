"""The canvas: outlines, shadows and veils."""

from __future__ import annotations

import numpy as np

from tools.make_streets.canvas import CONTACT_SHADOW, VEIL_OF_BICYCLE, VEIL_OF_FENCE, Canvas
from tools.make_streets.labels import BICYCLE, BUILDING, CAR, FENCE, ROAD, SKY

SQUARE = np.array([(2.0, 2.0), (5.0, 2.0), (5.0, 5.0), (2.0, 5.0)])


def test_a_new_canvas_is_sky() -> None:
    assert (Canvas(3, 4).label_ids() == np.full((3, 4), SKY)).all()


def test_later_outlines_cover_earlier_ones_and_their_ends_are_inclusive() -> None:
    canvas = Canvas(8, 8)
    building = canvas.material(BUILDING, (10.0, 20.0, 30.0), 5.0)
    car = canvas.material(CAR, (0.0, 0.0, 0.0), 4.0)
    canvas.paint(np.concatenate([SQUARE, SQUARE + 2]), [4, 4], [building, car])
    expected = np.full((8, 8), SKY)
    expected[2:6, 2:6] = BUILDING
    expected[4:8, 4:8] = CAR
    assert np.array_equal(canvas.label_ids(), expected)


def test_a_fence_is_labeled_where_the_background_is_visible_through_it() -> None:
    canvas = Canvas(8, 8)
    canvas.materials[...] = canvas.material(BUILDING, (10.0, 20.0, 30.0), 5.0)
    canvas.veil(SQUARE, VEIL_OF_FENCE)
    expected = np.full((8, 8), BUILDING)
    expected[2:6, 2:6] = FENCE
    assert np.array_equal(canvas.label_ids(), expected)
    car = canvas.material(CAR, (0.0, 0.0, 0.0), 4.0)
    canvas.paint(np.array([(0.0, 0.0), (7.0, 0.0), (7.0, 3.0), (0.0, 3.0)]), [4], [car])
    expected[:4] = CAR
    assert np.array_equal(canvas.label_ids(), expected)


def test_a_veil_replaces_another_and_may_lie_partly_outside() -> None:
    canvas = Canvas(8, 8)
    canvas.veil(SQUARE, VEIL_OF_FENCE)
    canvas.veil(SQUARE - 4, VEIL_OF_BICYCLE)
    canvas.veil(SQUARE + 100, VEIL_OF_BICYCLE)
    assert canvas.label_ids()[0, 0] == BICYCLE
    assert canvas.label_ids()[4, 4] == FENCE
    canvas.veil(SQUARE, VEIL_OF_BICYCLE)
    assert canvas.label_ids()[4, 4] == BICYCLE


def test_far_outliers_are_clipped() -> None:
    canvas = Canvas(4, 4)
    road = canvas.material(ROAD, (1.0, 1.0, 1.0), 0.0, ground=True)
    outline = np.array([(-1e12, -1e12), (1e12, -1e12), (1e12, 1e12), (-1e12, 1e12)])
    canvas.paint(outline, [4], [road])
    assert (canvas.label_ids() == ROAD).all()


def test_shadows_leave_the_materials_alone() -> None:
    canvas = Canvas(8, 8)
    canvas.shade(SQUARE, CONTACT_SHADOW)
    assert (canvas.shadows == CONTACT_SHADOW).sum() == 16
    assert (canvas.materials == canvas.sky).all()


def test_properties_are_listed_by_material() -> None:
    canvas = Canvas(2, 2)
    canvas.material(ROAD, (300.0, -5.0, 100.0), 7.0, grain=3.0, ground=True)
    colors, depths, grains, grounds = canvas.tables()
    assert canvas.label_table().tolist() == [SKY, ROAD]
    # colors are clipped, so that texture and light can change them in both directions
    assert colors[:, 1].tolist() == [250.0, 4.0, 100.0]
    assert (depths[1], grains[1], grounds[1]) == (7.0, 3.0, True)
