"""Pedestrians and two-wheelers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tools.make_streets.labels import BICYCLE, MOTORCYCLE, PERSON, RIDER, SKY
from tools.make_streets.people import paint_bicycle, paint_motorcycle, paint_person
from tools.make_streets.stage import Stage


def test_a_person_is_between_1_2_and_2_meters_high(stage: Stage) -> None:
    paint_person(stage, 0.0, 5.0)
    painted = stage.canvas.label_ids()
    assert set(np.unique(painted)) == {SKY, PERSON}
    rows = np.nonzero(painted == PERSON)[0]
    # 20 pixels per meter, the ground is in row 80
    assert rows.max() == 80
    assert 1.2 * 20 < rows.max() - rows.min() < 2.05 * 20


@pytest.mark.parametrize(("paint", "label"),
                         [(paint_bicycle, BICYCLE), (paint_motorcycle, MOTORCYCLE)])
def test_only_a_ridden_machine_has_a_rider(stage: Stage, paint: Callable[..., None],
                                           label: int) -> None:
    paint(stage, 0.0, 5.0, False, 1.0)
    assert set(np.unique(stage.canvas.label_ids())) == {SKY, label}
    paint(stage, 0.0, 5.0, True, 1.0)
    assert set(np.unique(stage.canvas.label_ids())) == {SKY, label, RIDER}


def test_the_wheels_of_a_bicycle_are_labeled_whole(stage: Stage) -> None:
    paint_bicycle(stage, 0.0, 5.0, False, 1.0)
    # a hub is 0.55 m from the center and 0.36 m above the ground, with 20 pixels per meter
    wheel = stage.canvas.label_ids()[73 - 5 : 73 + 6, 111 - 4 : 111 + 5]
    assert (wheel == BICYCLE).all()


def test_a_two_wheeler_seen_from_behind_is_narrow(stage: Stage) -> None:
    widths = []
    for d, stretch in ((-3.0, 1.0), (3.0, 0.2)):
        before = stage.canvas.label_ids() == MOTORCYCLE
        paint_motorcycle(stage, d, 5.0, False, stretch)
        columns = np.nonzero((stage.canvas.label_ids() == MOTORCYCLE) & ~before)[1]
        widths.append(columns.max() - columns.min())
    assert widths[1] < 0.35 * widths[0]
