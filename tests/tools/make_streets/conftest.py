"""A small stage: a straight street in clear light, seen by a simple camera."""

from __future__ import annotations

import pytest

from tools.make_streets.camera import Camera
from tools.make_streets.canvas import Canvas
from tools.make_streets.light import Light
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage

HEIGHT, WIDTH = 100, 200


@pytest.fixture
def stage() -> Stage:
    """5 pixels per meter 20 m ahead, the horizon in row 40, the eye 2 m above the ground."""
    camera = Camera(HEIGHT, WIDTH, focal=100.0, center=100.0, horizon=40.0, eye=2.0, bend=0.0,
                    bend_start=10.0)
    rng = StableRandom(1, 2)
    return Stage(camera, Canvas(HEIGHT, WIDTH), Light.sample(rng), rng)
