from __future__ import annotations

import pytest

from tools.maintainer.figures import schedules


def test_the_drawn_rates_are_an_optimizers() -> None:
    rates = schedules.learning_rates(lr_schedule="poly", poly_exp=1.0)
    steps = schedules.EPOCHS * schedules.STEPS_PER_EPOCH
    assert rates == pytest.approx([1 - step / steps for step in range(steps)])
