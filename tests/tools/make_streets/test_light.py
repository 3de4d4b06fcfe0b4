"""Light and rendering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.make_streets.canvas import CONTACT_SHADOW
from tools.make_streets.labels import ROAD
from tools.make_streets.light import DAYS, Light, photograph
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage


@pytest.mark.parametrize("day", DAYS)
def test_ranges_are_low_then_high(day) -> None:
    for low, high in (day.sun, day.visibility, day.exposure, day.clouds):
        assert 0 <= low <= high


def test_the_sun_is_a_unit_vector() -> None:
    for seed in range(20):
        light = Light.sample(StableRandom(seed))
        assert light.sun_x**2 + light.sun_z**2 == pytest.approx(1.0)


def test_a_face_towards_the_sun_is_brightest_and_one_away_is_darkest(stage: Stage) -> None:
    light = replace(stage.light, sun=0.5, sun_x=1.0, sun_z=0.0)
    # 1 - 0.75 * 0.5 in shade, and 1.1 * 0.5 more in full sun
    assert light.facing(1.0, 0.0) == pytest.approx(0.625 + 0.55)
    assert light.facing(0.0, 1.0) == light.facing(-1.0, 0.0) == pytest.approx(0.625)
    assert light.above == pytest.approx(1.125)


def test_a_photograph_is_rgb_and_depends_on_its_random_numbers_alone(stage: Stage) -> None:
    first, second = (photograph(stage.canvas, stage.camera, stage.light, StableRandom(7))
                     for _ in range(2))
    assert first.shape == (100, 200, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


def test_fog_hides_what_is_far_behind_it(stage: Stage) -> None:
    light = replace(stage.light, visibility=50.0, haze=(200.0, 200.0, 200.0), noise=0.0,
                    exposure=1.0, contrast=1.0, tint=(1.0, 1.0, 1.0))
    near, far = (stage.canvas.material(ROAD, (50.0, 50.0, 50.0), depth, grain=0.0)
                 for depth in (0.0, 1e9))
    stage.canvas.materials[:, :100] = near
    stage.canvas.materials[:, 100:] = far
    image = photograph(stage.canvas, stage.camera, light, StableRandom(7))
    assert image[70, 50].tolist() == pytest.approx([50, 50, 50], abs=1)
    assert image[70, 150].tolist() == pytest.approx([200, 200, 200], abs=1)


def test_a_contact_shadow_darkens_the_ground(stage: Stage) -> None:
    road = stage.canvas.material(ROAD, (120.0, 120.0, 120.0), 0.0, grain=0.0, ground=True)
    stage.canvas.materials[...] = road
    stage.canvas.shadows[:, 100:] = CONTACT_SHADOW
    image = photograph(stage.canvas, stage.camera, stage.light, StableRandom(7)).astype(int)
    assert image[90, 150:].mean() < 0.75 * image[90, :50].mean()
