"""Houses."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.buildings import DOOR, SHOP, House, paint_house, shade_house
from tools.make_streets.labels import BUILDING
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage

HOUSES = [House.sample(StableRandom(seed), low=seed % 2 == 0) for seed in range(40)]


@pytest.mark.parametrize("house", HOUSES)
def test_a_facade_has_a_door_and_indexes_the_colors(house: House) -> None:
    assert len(house.colors) == DOOR + 1
    assert house.texture.max() == DOOR
    assert 3.0 < house.height < 30.0


def test_low_houses_have_no_shop_and_are_lower() -> None:
    low, high = HOUSES[::2], HOUSES[1::2]
    assert not any((house.texture == SHOP).any() for house in low)
    assert any((house.texture == SHOP).any() for house in high)
    assert max(house.height for house in low) < np.mean([house.height for house in high])
    assert all(house.pitch > 0 for house in low)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_house_stands_on_its_side_from_the_ground_up(stage: Stage, sign: int) -> None:
    paint_house(stage, HOUSES[0], sign, sign * 8.0, 10.0, 20.0)
    rows, columns = np.nonzero(stage.canvas.label_ids() == BUILDING)
    assert ((columns - 100) * sign > 0).all()
    # 10 m ahead, the ground is 20 rows below the horizon
    assert 58 <= rows.max() <= 61
    assert rows.min() < 40


def test_a_facade_darkens_the_ground_only(stage: Stage) -> None:
    shade_house(stage, HOUSES[1], -6.0, 8.0, 20.0)
    assert not (stage.canvas.label_ids() == BUILDING).any()
    assert bool(stage.canvas.shadows.any()) == (stage.light.sun > 0.2)
