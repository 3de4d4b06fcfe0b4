from __future__ import annotations

import pytest
import torch
from torch import nn

import optimizer
from optimizer.schedules import rate_factor

FACTOR = {"total_steps": 100, "schedule": "poly", "poly_exp": 0.9, "warmup_steps": 0}


def test_the_first_step_has_the_whole_rate_and_the_last_more_than_zero() -> None:
    assert rate_factor(0, **FACTOR) == 1
    assert rate_factor(99, **FACTOR) == pytest.approx(0.01 ** 0.9)


def test_poly_is_the_papers_power() -> None:
    assert rate_factor(50, **FACTOR) == pytest.approx(0.5 ** 0.9)


def test_warm_up_rises_linearly_and_then_leaves_the_schedule_alone() -> None:
    flags = {**FACTOR, "schedule": "constant", "warmup_steps": 4}
    assert [rate_factor(step, **flags) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert rate_factor(50, **{**FACTOR, "schedule": "cosine"}) == pytest.approx(0.5)


def build(net: nn.Module, **changes: object) -> torch.optim.Optimizer:
    flags = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "decay_norms": False}
    return optimizer.build(net, **{**flags, **changes})


def test_norms_and_biases_decay_only_when_asked() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    for decay_norms, expected in ((False, 0.0), (True, 0.01)):
        matrices, vectors = build(net, decay_norms=decay_norms).param_groups
        assert [one.ndim for one in matrices["params"]] == [4] and matrices["weight_decay"] == 0.01
        assert len(vectors["params"]) == 3 and vectors["weight_decay"] == expected


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam),
                                            ("adamw", torch.optim.AdamW)])
def test_every_optimiser_takes_a_step_that_lowers_the_loss(name: str, kind: type) -> None:
    torch.manual_seed(0)
    net, data = nn.Linear(4, 1), torch.randn(16, 4)
    stepper = build(net, optimizer=name, lr=0.01)
    assert type(stepper) is kind
    losses = []
    for _ in range(5):
        stepper.zero_grad()
        losses.append(net(data).square().mean())
        losses[-1].backward()
        stepper.step()
    assert losses[-1] < losses[0]


def test_the_schedule_follows_the_optimiser_step_by_step() -> None:
    stepper = build(nn.Linear(2, 2))
    schedule = optimizer.build_schedule(stepper, total_steps=10, lr_schedule="poly", poly_exp=1.0, warmup_steps=0)
    rates = []
    for _ in range(10):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])
