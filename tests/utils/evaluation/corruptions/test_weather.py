from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from utils.evaluation.corruptions import weather


def test_fog_is_thicker_at_the_top_and_brightens_a_dark_image() -> None:
    dark = np.zeros((100, 100, 3), np.uint8)
    foggy = weather.fog(dark, 3, np.random.default_rng(0)).astype(float)
    # the density at the bottom is 0.45 of that at the top, within the clouds' 0.75 to 1
    assert foggy[:10].mean() > 1.5 * foggy[-10:].mean() > 0
    # nothing is brighter than the fog, by its density
    assert foggy.max() <= weather.FOG_COLOR * weather.FOG_DENSITIES[2] + 1


def test_night_leaves_its_share_of_the_light_of_white() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    dark = weather.night(white, 5, np.random.default_rng(0)).astype(float).mean((0, 1))
    assert dark == pytest.approx(255 * 0.2 * weather.NIGHT_TINT, abs=0.5)


@pytest.mark.parametrize("kind", [weather.rain, weather.snow])
def test_drops_and_flakes_are_bright_on_a_dark_image_and_as_many_at_any_resolution(
        kind: Callable[..., np.ndarray]) -> None:
    shares = []
    for height in (120, 480):
        dark = np.full((height, height, 3), 20, np.uint8)
        drawn = kind(dark, 3, np.random.default_rng(1))[..., 0]
        shares.append(np.mean(drawn > np.median(drawn) + 25))
    assert 0.01 < shares[0] < 0.6
    assert shares[1] == pytest.approx(shares[0], rel=0.6)


def test_clouds_are_smooth_and_span_their_range() -> None:
    noise = weather.clouds(120, 200, np.random.default_rng(0))
    assert (noise.min(), noise.max()) == (0, 1)
    assert np.abs(np.diff(noise, axis=1)).max() < 0.1
