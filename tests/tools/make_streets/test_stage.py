"""Poses, upright planes, solids and flat figures."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.canvas import VEIL_OF_BICYCLE
from tools.make_streets.labels import BICYCLE, CAR, FENCE, PERSON, SKY, WALL
from tools.make_streets.stage import CIRCLE, Figure, Pose, Stage, paint_plane, paint_solid


def box_of(stage: Stage, label: int) -> tuple[int, int, int, int]:
    """First and last row, and first and last column, of the pixels of a label."""
    rows, columns = np.nonzero(stage.canvas.label_ids() == label)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_circle_has_twelve_points_at_distance_one() -> None:
    assert len(CIRCLE) == 12
    assert [a * a + b * b for a, b in CIRCLE] == pytest.approx([1.0] * 12, abs=1e-5)


def test_a_pose_heads_along_the_road_or_against_it(stage: Stage) -> None:
    assert stage.pose(3.0, 20.0) == Pose(3.0, 20.0, 0.0, 1.0)
    assert stage.pose(3.0, 20.0, (0.0, -1.0)) == Pose(3.0, 20.0, 0.0, -1.0)
    assert stage.pose(3.0, 20.0, (1.0, 0.0)) == Pose(3.0, 20.0, 1.0, 0.0)


def test_a_box_of_a_figure_is_where_the_camera_projects_it(stage: Stage) -> None:
    figure = Figure(stage, stage.pose(0.0, 20.0))
    figure.box(-1.0, 2.0, 0.0, 3.0, figure.material(PERSON, (9.0, 9.0, 9.0)))
    assert (stage.canvas.label_ids() == SKY).all()
    figure.finish()
    # 5 pixels per meter; the ground is in row 50
    assert box_of(stage, PERSON) == (35, 50, 95, 110)


def test_a_stretched_figure_is_mirrored_and_narrower(stage: Stage) -> None:
    figure = Figure(stage, stage.pose(0.0, 20.0), stretch=-0.5)
    figure.box(0.0, 4.0, 0.0, 3.0, figure.material(PERSON, (9.0, 9.0, 9.0)))
    figure.finish()
    assert box_of(stage, PERSON) == (35, 50, 90, 100)


def test_a_veil_of_a_figure_keeps_the_materials_behind_it(stage: Stage) -> None:
    figure = Figure(stage, stage.pose(0.0, 20.0))
    figure.veil((0.0, 2.0), 1.0, VEIL_OF_BICYCLE)
    assert stage.canvas.label_ids()[40, 100] == BICYCLE
    assert (stage.canvas.materials & 0x3FFF == stage.canvas.sky).all()


def test_a_plane_is_as_high_as_its_texture_and_its_gaps_are_fence(stage: Stage) -> None:
    bar = stage.canvas.material(WALL, (9.0, 9.0, 9.0), 20.0)
    texture = np.array([[0, 1], [0, 1]], np.uint8)
    swatch = np.array([bar, bar], np.uint16)
    # 4 m wide and, with one texel per meter, 2 m high: up to the horizon
    paint_plane(stage, ((-2.0, 20.0), (2.0, 20.0)), texture, swatch, 1.0, see_through=True)
    assert box_of(stage, WALL)[:2] == (40, 49)
    labels = stage.canvas.label_ids()[45, 90:110].tolist()
    assert labels == ([FENCE] * 5 + [WALL] * 5) * 2


def test_a_plane_behind_the_image_edge_is_not_painted(stage: Stage) -> None:
    texture, swatch = np.zeros((2, 2), np.uint8), np.array([1], np.uint16)
    paint_plane(stage, ((500.0, 20.0), (504.0, 20.0)), texture, swatch, 1.0)
    assert (stage.canvas.label_ids() == SKY).all()


def test_a_solid_shows_the_faces_whose_outer_side_is_visible(stage: Stage) -> None:
    material = stage.canvas.material(CAR, (9.0, 9.0, 9.0), 20.0)
    face = [(-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 2.0, 0.0), (-1.0, 2.0, 0.0)]
    paint_solid(stage, stage.pose(0.0, 20.0), [(face[::-1], material)])
    assert (stage.canvas.label_ids() == SKY).all()
    paint_solid(stage, stage.pose(0.0, 20.0), [(face, material)])
    assert box_of(stage, CAR) == (40, 50, 95, 105)


def test_a_shadow_lies_under_a_box(stage: Stage) -> None:
    stage.cast_shadow(0.0, 20.0, 1.0, 2.0, 1.5)
    assert stage.canvas.shadows[50, 100] == 2
    assert (stage.canvas.label_ids() == SKY).all()
