"""The pinhole camera: projections worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.camera import NEAREST, Camera
from tools.make_streets.stable_random import StableRandom

CAMERA = Camera(
    100, 200, focal=100.0, center=100.0, horizon=40.0, eye=2.0, bend=0.01, bend_start=10.0
)


def test_a_position_on_the_ground_is_where_the_pinhole_projects_it() -> None:
    # 20 m ahead the road has curved by 0.01 * (20 - 10)^2 = 1 m; there are 5 pixels per meter, and
    # the ground is 2 m below the eye.
    assert CAMERA.ground([(3.0, 20.0)]).tolist() == [[100.0 + 4 * 5, 40.0 + 2 * 5]]


def test_points_at_the_height_of_the_eye_are_on_the_horizon() -> None:
    z = np.array([1.0, 10.0, 1000.0])
    assert CAMERA.project(z * 0, np.full(3, 2.0), z)[:, 1].tolist() == [40.0, 40.0, 40.0]


def test_the_ground_approaches_the_horizon_with_the_distance() -> None:
    rows = CAMERA.ground([(0.0, z) for z in (5.0, 50.0, 5000.0)])[:, 1]
    assert rows.tolist() == pytest.approx([80.0, 44.0, 40.04])


def test_nearer_points_are_projected_as_if_at_the_nearest_distance() -> None:
    assert CAMERA.scale(0.1) == CAMERA.scale(NEAREST) == 100.0 / NEAREST


def test_the_heading_is_the_tangent_of_the_curve() -> None:
    assert CAMERA.heading(10.0) == (0.0, 1.0)
    x, z = CAMERA.heading(20.0)
    slope = (CAMERA.x_of(0.0, 20.0001) - CAMERA.x_of(0.0, 19.9999)) / 0.0002
    assert x / z == pytest.approx(slope)
    assert x * x + z * z == pytest.approx(1.0)
    assert CAMERA.ground_point(3.0, 20.0) == (4.0, 20.0)


def test_a_random_camera_has_its_horizon_in_the_image() -> None:
    for seed in range(50):
        camera = Camera.sample(StableRandom(seed), 100, 200)
        assert 36 <= camera.horizon <= 48
        assert 84 <= camera.center <= 116
        assert 1.45 <= camera.eye <= 2.3
