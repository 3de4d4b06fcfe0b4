"""Palettes and colors."""

from __future__ import annotations

import pytest

from tools.make_streets import paint
from tools.make_streets.stable_random import StableRandom

PALETTES = [name for name in vars(paint) if name.isupper()]


@pytest.mark.parametrize("name", PALETTES)
def test_every_anchor_is_an_rgb_color(name: str) -> None:
    for anchor in getattr(paint, name):
        assert len(anchor) == 3
        assert all(0 <= channel <= 255 for channel in anchor)


def test_a_color_stays_near_an_anchor() -> None:
    rng = StableRandom(0)
    for _ in range(200):
        for channel in paint.color(rng, ((100.0, 100.0, 100.0),), spread=5.0, stray=0.0):
            # a brightness of 0.75 to 1.2, and 5 levels more or less
            assert 70.0 <= channel <= 125.0


def test_stray_colors_are_those_of_any_class() -> None:
    rng = StableRandom(0)
    colors = [paint.color(rng, ((0.0, 0.0, 0.0),), spread=0.0, stray=0.5) for _ in range(1000)]
    strays = sum(color != (0.0, 0.0, 0.0) for color in colors)
    assert 430 < strays < 570


def test_light_multiplies_each_channel() -> None:
    assert paint.lit((10.0, 20.0, 30.0), 0.5) == (5.0, 10.0, 15.0)


def test_mixing_interpolates_linearly() -> None:
    first, second = (0.0, 100.0, 200.0), (100.0, 100.0, 0.0)
    assert paint.mix(first, second, 0.0) == first
    assert paint.mix(first, second, 1.0) == second
    assert paint.mix(first, second, 0.25) == (25.0, 100.0, 150.0)
