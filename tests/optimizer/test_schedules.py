"""Learning-rate schedules: the factor of each step."""
from __future__ import annotations

import pytest
import torch

import optimizer
from optimizer.schedules import SCHEDULES, ScheduleSettings, rate_factor

POLY = {"total_steps": 100, "schedule": "poly"}


def test_the_first_step_has_the_full_rate_and_the_last_more_than_zero() -> None:
    assert rate_factor(0, **POLY) == 1
    assert rate_factor(99, **POLY) == pytest.approx(0.01 ** 0.9)


def test_poly_is_the_papers_power() -> None:
    assert rate_factor(50, **POLY) == pytest.approx(0.5 ** 0.9)


def test_warm_up_rises_linearly_and_then_leaves_the_schedule_alone() -> None:
    flags = {**POLY, "schedule": "constant", "warmup_steps": 4}
    assert [rate_factor(step, **flags) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert rate_factor(50, **{**POLY, "schedule": "cosine"}) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("held_for", [1, 10, 30])
def test_no_step_has_a_rate_of_zero(schedule: str, held_for: int) -> None:
    settings = ScheduleSettings(restart=0.4)
    factors = [
        rate_factor(step, total_steps=100, schedule=schedule, settings=settings, warmup_steps=5,
                    held_for=held_for)
        for step in range(100)
    ]
    assert min(factors) > 0


def test_stepped_once_an_epoch_the_first_has_the_full_rate_and_the_last_its_fraction() -> None:
    settings = ScheduleSettings(poly_exp=1.0)
    factors = [
        rate_factor(step, total_steps=40, schedule="poly", settings=settings, held_for=10)
        for step in range(40)
    ]
    assert factors == pytest.approx([factor for factor in (1, 0.75, 0.5, 0.25) for _ in range(10)])


def test_scaled_poly_restarts() -> None:
    flags = {
        "total_steps": 100,
        "schedule": "scl-poly",
        "settings": ScheduleSettings(0.9, restart=0.6, repoly=2.0, rescale=0.5),
    }
    assert rate_factor(59, **flags) == pytest.approx(0.41 ** 0.9)
    assert rate_factor(60, **flags) == 0.5
    assert rate_factor(80, **flags) == pytest.approx(0.5 * 0.5 ** 2)


def test_a_run_that_ends_before_the_restart_decreases_as_poly_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stepper = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = optimizer.ScheduleOptions(lr_schedule="scl-poly", poly_exp=1.0)
    schedule = optimizer.build_schedule(
        stepper, options, total_steps=3, restart_epoch=1, steps_per_epoch=3
    )
    rates = []
    for _ in range(3):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates == pytest.approx([1, 2 / 3, 1 / 3])
    assert "the run ends before epoch 1 (--rlx_off_epoch)" in caplog.text


def test_a_warm_up_below_1_is_a_fraction_of_the_run() -> None:
    stepper = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = optimizer.ScheduleOptions(lr_schedule="constant", warmup_steps=0.3)
    schedule = optimizer.build_schedule(stepper, options, total_steps=10)
    rates = []
    for _ in range(4):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    # three steps of ten
    assert rates == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])
