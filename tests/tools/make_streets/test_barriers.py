"""Walls, fences and hedges."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.barriers import LABELS, TEXELS, Barrier, paint_barrier
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage


@pytest.mark.parametrize("kind", LABELS)
def test_a_texture_is_as_high_as_the_barrier_and_indexes_its_colors(kind: str) -> None:
    for seed in range(20):
        barrier = Barrier.sample(StableRandom(seed), kind, 1.5)
        assert abs(len(barrier.texture) - 1.5 * TEXELS) <= 1
        assert barrier.texture.max() < len(barrier.colors)
        assert barrier.label == LABELS[kind]


@pytest.mark.parametrize("kind", LABELS)
def test_a_barrier_stands_on_its_side_of_the_street(stage: Stage, kind: str) -> None:
    barrier = Barrier.sample(stage.rng, kind, 1.5)
    paint_barrier(stage, barrier, -1, -5.0, 8.0, 30.0)
    rows, columns = np.nonzero(stage.canvas.label_ids() == LABELS[kind])
    assert columns.max() < 100
    # lower than the eye, so below the horizon
    assert rows.min() >= 40
