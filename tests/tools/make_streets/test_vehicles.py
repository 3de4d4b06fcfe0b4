"""Cars, buses, trucks and trams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tools.make_streets.labels import BUS, CAR, SKY, TRAIN, TRUCK
from tools.make_streets.stage import Stage
from tools.make_streets.vehicles import paint_bus, paint_car, paint_tram_car, paint_truck

# label, and range of width and height in meters
VEHICLES = [
    (paint_car, CAR, (1.6, 2.1), (1.3, 2.2)),
    (paint_bus, BUS, (2.4, 3.5), (2.8, 4.4)),
    (paint_truck, TRUCK, (2.3, 2.8), (1.9, 4.1)),
]


@pytest.mark.parametrize(("paint", "label", "width", "height"), VEHICLES)
@pytest.mark.parametrize("turn", [(0.0, 1.0), (0.0, -1.0)])
def test_a_vehicle_has_its_label_and_size(stage: Stage, paint: Callable[..., None], label: int,
                                          width: tuple[float, float], height: tuple[float, float],
                                          turn: tuple[float, float]) -> None:
    paint(stage, stage.pose(0.0, 30.0, turn))
    painted = stage.canvas.label_ids()
    assert set(np.unique(painted)) == {SKY, label}
    rows, columns = np.nonzero(painted == label)
    # its near end is 24 to 28.5 m ahead, with 3.5 to 4.2 pixels per meter
    assert width[0] * 3.5 - 1 <= columns.max() - columns.min() <= width[1] * 4.2 + 1
    assert height[0] * 3.5 - 1 <= rows.max() - rows.min() <= height[1] * 4.2 + 1


@pytest.mark.parametrize("pantograph", [False, True])
def test_a_tram_car_with_a_pantograph_is_higher(stage: Stage, pantograph: bool) -> None:
    livery = ((150.0, 40.0, 40.0), (200.0, 200.0, 200.0))
    paint_tram_car(stage, stage.pose(0.0, 30.0), livery, 7.0, first=True, last=True,
                   pantograph=pantograph)
    painted = stage.canvas.label_ids()
    assert set(np.unique(painted)) == {SKY, TRAIN}
    rows = np.nonzero(painted == TRAIN)[0]
    # the horizon is 2 m up; the roof is 3.8 m high, the shoe of a pantograph 5.2 m
    above = (40 - rows.min()) / (100 / 30)
    assert above == pytest.approx(3.2 if pantograph else 1.8, abs=0.45)
