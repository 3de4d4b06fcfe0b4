"""Bodies of vehicles."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.bodies import Body, upright
from tools.make_streets.labels import CAR
from tools.make_streets.stage import Stage

PAINT = (100.0, 100.0, 100.0)


@pytest.mark.parametrize(("d", "turn", "visible"),
                         [(0.0, (0.0, 1.0), {"rear", "top"}),
                          (0.0, (0.0, -1.0), {"front", "top"}),
                          (8.0, (0.0, 1.0), {"rear", "left", "top"}),
                          (-8.0, (0.0, 1.0), {"rear", "right", "top"})])
def test_the_camera_sees_the_faces_that_are_turned_to_it(
    stage: Stage, d: float, turn: tuple[float, float], visible: set[str]
) -> None:
    body = Body(stage, stage.pose(d, 20.0, turn), CAR)
    faces = body.block(1.8, 0.2, 1.5, -2.0, 2.0, PAINT)
    assert {side for side, corners in faces.items() if corners} == visible
    assert len(body.faces) == len(visible)


def test_the_top_of_a_block_above_the_eye_is_hidden(stage: Stage) -> None:
    faces = Body(stage, stage.pose(0.0, 20.0), CAR).block(1.8, 0.2, 2.5, -2.0, 2.0, PAINT)
    assert faces["top"] == []


def test_a_panel_is_given_in_fractions_of_its_face(stage: Stage) -> None:
    body = Body(stage, stage.pose(0.0, 20.0), CAR)
    face = [(-1.0, 0.0, 5.0), (1.0, 0.0, 5.0), (1.0, 2.0, 5.0), (-1.0, 2.0, 5.0)]
    body.panel(face, 0.25, 0.75, 0.5, 1.0, 3)
    assert body.faces == [([(-0.5, 1.0, 5.0), (0.5, 1.0, 5.0), (0.5, 2.0, 5.0), (-0.5, 2.0, 5.0)],
                           3)]


def test_a_hidden_face_has_no_panels_windows_or_lamps(stage: Stage) -> None:
    body = Body(stage, stage.pose(0.0, 20.0), CAR)
    body.panel([], 0.0, 1.0, 0.0, 1.0, 0)
    body.windows([], 0.0, 1.0, 0.0, 1.0, 3, 0.1, 0)
    body.lamps([], PAINT, 0.0, 1.0)
    assert body.faces == []


def test_windows_divide_their_range_equally(stage: Stage) -> None:
    body = Body(stage, stage.pose(0.0, 20.0), CAR)
    face = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]
    body.windows(face, 0.0, 1.0, 0.0, 1.0, count=2, gap=0.2, material=0)
    edges = [[corner[0] for corner in corners[:2]] for corners, _ in body.faces]
    assert np.allclose(edges, [[0.1, 0.4], [0.6, 0.9]])


def test_an_upright_rectangle_faces_backwards_or_forwards() -> None:
    backwards = upright(-1.0, 1.0, 0.0, 2.0, 3.0, 1)
    assert backwards[0] == (-1.0, 0.0, 3.0)
    assert upright(-1.0, 1.0, 0.0, 2.0, 3.0, -1) == backwards[::-1]
