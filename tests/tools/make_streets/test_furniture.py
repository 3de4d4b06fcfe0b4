"""Street furniture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tools.make_streets import furniture
from tools.make_streets.labels import POLE, SKY, STATIC, TRAFFIC_LIGHT, TRAFFIC_SIGN
from tools.make_streets.stage import Stage


@pytest.mark.parametrize(("paint", "labels"),
                         [(furniture.paint_lamp, {POLE}),
                          (furniture.paint_bollard, {POLE}),
                          (furniture.paint_bin, {STATIC}),
                          (furniture.paint_traffic_light, {POLE, TRAFFIC_LIGHT}),
                          (furniture.paint_sign, {POLE, TRAFFIC_SIGN})])
def test_each_thing_has_its_labels_and_stands_on_the_ground(
    stage: Stage, paint: Callable[..., None], labels: set[int]
) -> None:
    paint(stage, 2.0, 20.0, 1)
    painted = stage.canvas.label_ids()
    assert set(np.unique(painted)) == {SKY, *labels}
    rows, columns = np.nonzero(painted != SKY)
    # 20 m ahead, the ground is in row 50 and d = 2 m in column 110
    assert rows.max() == 50
    assert columns.min() <= 110 <= columns.max()


def test_the_arm_of_a_mast_reaches_over_the_street(stage: Stage) -> None:
    furniture.paint_mast(stage, -8.0, 20.0, -1, 6.0)
    columns = np.nonzero(stage.canvas.label_ids() == POLE)[1]
    # from d = -8 m to d = -2 m, with 5 pixels per meter
    assert columns.min() == pytest.approx(60, abs=1)
    assert columns.max() == pytest.approx(90, abs=1)


def test_a_far_post_keeps_a_visible_width(stage: Stage) -> None:
    furniture.paint_bollard(stage, 0.0, 100.0, 1)
    assert (stage.canvas.label_ids() == POLE).any()
