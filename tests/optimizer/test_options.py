"""The flags of the optimizer and the schedule, and what they build."""
from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import nn

import optimizer
import train
from optimizer import OptimizerOptions, ScheduleOptions
from utils.cli import FlagParser


def build(net: nn.Module, global_batch: int = 16, **changes: Any) -> torch.optim.Optimizer:
    options = optimizer.OptimizerOptions(**{"lr": 0.1, "weight_decay": 0.01, **changes})
    return optimizer.build(net, options, global_batch=global_batch)


def test_every_flag_is_a_field_with_the_same_default() -> None:
    parser = FlagParser()
    optimizer.add_flags(parser)
    args = parser.parse_args([])
    names = {field.name for options in (OptimizerOptions, ScheduleOptions)
             for field in fields(options)}
    assert vars(args).keys() == names
    assert OptimizerOptions.from_args(args) == OptimizerOptions()
    assert ScheduleOptions.from_args(args) == ScheduleOptions()


def test_the_rate_scales_with_the_global_batch_when_asked() -> None:
    assert build(nn.Linear(2, 2), global_batch=32).param_groups[0]["lr"] == 0.1
    assert build(nn.Linear(2, 2), global_batch=32, scale_lr=True).param_groups[0][
        "lr"
    ] == pytest.approx(0.2)


def test_nesterov_reaches_sgd() -> None:
    assert build(nn.Linear(2, 2), nesterov=True).defaults["nesterov"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--nesterov --adamw", "--nesterov is a form of SGD's momentum"),
        ("--nesterov --momentum 0", "--nesterov is a form of SGD's momentum"),
        ("--lr_schedule scl-poly", "scl-poly needs --rlx_off_epoch"),
        (
            "--lr_schedule scl-poly --rlx_off_epoch 9 --max_epoch 9",
            "would restart in epoch 9 .* ends after 9",
        ),
        ("--layer_decay 1.2", "--layer_decay is 1.2"),
    ],
)
def test_flags_that_exclude_each_other_are_refused_at_once(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse(flags.split())
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("lr", "-1"),
        ("momentum", "1.5"),
        ("weight_decay", "-1"),
        ("backbone_lr_factor", "0"),
        ("head_lr_factor", "0"),
        ("poly_exp", "-1"),
        ("repoly", "nan"),
        ("rescale", "0"),
        ("warmup_steps", "-3"),
        ("clip_grad", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flags_name(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse([f"--{flag}", value])
    assert f"--{flag}: '{value}' is not a" in capsys.readouterr().err


def test_flags_reach_optimizer_and_schedule() -> None:
    flags = ("--lr 0.2 --scale_lr --lr_schedule scl-poly --rlx_off_epoch 5 --rescale 0.5 --repoly 2"
             " --max_epoch 10")
    options = train.parse([*flags.split(), "--lr_step", "epoch"])
    stepper = optimizer.build(nn.Linear(2, 2), options.optimizer, global_batch=8)
    schedule = optimizer.build_schedule(
        stepper, options.schedule, total_steps=100, steps_per_epoch=10,
        restart_epoch=options.loss.rlx_off_epoch)
    rates = []
    for _ in range(100):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and rates[50:60] == pytest.approx([0.05] * 10)
    assert rates[99] == pytest.approx(0.05 * 0.2 ** 2)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam),
                                            ("adamw", torch.optim.AdamW)])
def test_every_optimizer_takes_a_step_that_lowers_the_loss(name: str, kind: type) -> None:
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


def test_the_schedule_follows_the_optimizer_step_by_step() -> None:
    stepper = build(nn.Linear(2, 2))
    schedule = optimizer.build_schedule(stepper, ScheduleOptions(poly_exp=1.0), total_steps=10)
    rates = []
    for _ in range(10):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])


@pytest.mark.parametrize("factors", [{}, {"head_lr_factor": 2.0, "backbone_lr_factor": 0.5}])
def test_the_base_rate_has_no_factor_of_a_group(factors: dict[str, float]) -> None:
    net = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    stepper = build(net, global_batch=32, scale_lr=True, **factors)
    schedule = optimizer.build_schedule(stepper, ScheduleOptions(poly_exp=1.0), total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.base_rate(schedule))
        assert stepper.param_groups[0]["lr"] == rates[-1] * factors.get("head_lr_factor", 1.0)
        stepper.step()
        schedule.step()
    # 0.1 * 32 / 16 * (1 - step / 4)
    assert rates == pytest.approx([0.2, 0.15, 0.1, 0.05])


@pytest.mark.parametrize(("changes", "message"), [
    ({"optimizer": "lion"}, "unknown optimizer 'lion': choose one of sgd, adam, adamw"),
    ({"layer_decay": 0.0}, "--layer_decay is 0.0"),
    ({"ema_decay": 1.0}, r"--ema_decay is a fraction in \[0, 1\), not 1.0"),
])
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerOptions(**changes)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--lr_schedule step .* choose one of poly, scl-poly"):
        ScheduleOptions(lr_schedule="step")


def test_a_schedule_without_restart_needs_no_epoch_for_it() -> None:
    ScheduleOptions().check_restart(None, 9)
    ScheduleOptions().check_restart(12, 9)


@pytest.mark.parametrize(("epoch", "last_epoch", "message"), [
    (None, 9, "scl-poly needs --rlx_off_epoch"),
    (9, 9, "would restart in epoch 9 .* ends after 9"),
])
def test_a_restart_must_lie_within_the_run(
        epoch: int | None, last_epoch: int, message: str) -> None:
    options = ScheduleOptions(lr_schedule="scl-poly")
    with pytest.raises(ValueError, match=message):
        options.check_restart(epoch, last_epoch)
    options.check_restart(8, last_epoch)
    # a run of a given number of steps
    options.check_restart(12, None)
