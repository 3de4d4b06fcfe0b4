"""Trees and bushes."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.labels import SKY, VEGETATION
from tools.make_streets.stage import Stage
from tools.make_streets.vegetation import paint_bush, paint_tree, shade_tree


def test_a_tree_has_about_its_height(stage: Stage) -> None:
    paint_tree(stage, 0.0, 25.0, 6.0)
    painted = stage.canvas.label_ids()
    assert set(np.unique(painted)) == {SKY, VEGETATION}
    rows = np.nonzero(painted == VEGETATION)[0]
    # 4 pixels per meter, the ground is in row 48
    assert rows.max() == 48
    assert rows.max() - rows.min() == pytest.approx(24, rel=0.2)


def test_a_bush_stands_on_the_ground(stage: Stage) -> None:
    paint_bush(stage, 0.0, 25.0, 2.0)
    rows = np.nonzero(stage.canvas.label_ids() == VEGETATION)[0]
    assert rows.max() == pytest.approx(48, abs=2)
    assert rows.min() > 35


def test_the_shadow_of_a_tree_leaves_labels_alone(stage: Stage) -> None:
    shade_tree(stage, 0.0, 10.0, 6.0)
    assert stage.canvas.shadows[60, 100] > 0
    assert (stage.canvas.label_ids() == SKY).all()
