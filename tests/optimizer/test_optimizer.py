from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import optimizer
import train
from optimizer.groups import layer_depths
from optimizer.schedules import SCHEDULES, Shape, rate_factor

FACTOR = {"total_steps": 100, "schedule": "poly"}


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


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("held_for", [1, 10, 30])
def test_no_step_has_a_rate_of_zero(schedule: str, held_for: int) -> None:
    shape = Shape(restart=0.4)
    factors = [rate_factor(step, total_steps=100, schedule=schedule, shape=shape, warmup_steps=5, held_for=held_for)
               for step in range(100)]
    assert min(factors) > 0


def test_stepped_by_the_epoch_the_first_has_the_whole_rate_and_the_last_its_share() -> None:
    factors = [rate_factor(step, total_steps=40, schedule="poly", shape=Shape(poly_exp=1.0), held_for=10)
               for step in range(40)]
    assert factors == pytest.approx([share for share in (1, 0.75, 0.5, 0.25) for _ in range(10)])


def test_scaled_poly_starts_anew() -> None:
    flags = {"total_steps": 100, "schedule": "scl-poly", "shape": Shape(0.9, restart=0.6, repoly=2.0, rescale=0.5)}
    assert rate_factor(59, **flags) == pytest.approx(0.41 ** 0.9)
    assert rate_factor(60, **flags) == 0.5
    assert rate_factor(80, **flags) == pytest.approx(0.5 * 0.5 ** 2)


def test_a_run_that_ends_before_the_restart_falls_as_poly_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    stepper = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = optimizer.ScheduleOptions(lr_schedule="scl-poly", poly_exp=1.0)
    schedule = optimizer.build_schedule(stepper, options, total_steps=3, restart_epoch=1, steps_per_epoch=3)
    rates = []
    for _ in range(3):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates == pytest.approx([1, 2 / 3, 1 / 3])
    assert "the run ends before epoch 1 (--rlx_off_epoch)" in caplog.text


class Parser(nn.Module):
    """A backbone of a stem and two blocks, and a head, named as networks name them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({
            "stem": nn.Linear(2, 2), "layer1": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})
        self.head = nn.Linear(2, 2)


def group_rates(**changes: object) -> dict[str, float]:
    net = Parser()
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {names[id(one)]: group["lr"] for group in build(net, **changes).param_groups for one in group["params"]}


def test_backbone_and_head_learn_at_their_own_rates() -> None:
    found = group_rates(backbone_lr_factor=0.1, head_lr_factor=2.0)
    assert {name: rate for name, rate in found.items() if name.startswith("head")} == pytest.approx(
        {"head.weight": 0.2, "head.bias": 0.2})
    assert set(found.values()) == {0.1 * 0.1, 0.1 * 2.0}


def test_layers_learn_the_slower_the_deeper_they_lie() -> None:
    found = group_rates(layer_decay=0.5)
    layers = ("head", "backbone.layer1.1", "backbone.layer1.0", "backbone.stem")
    assert [found[f"{layer}.weight"] for layer in layers] == pytest.approx([0.1, 0.05, 0.025, 0.0125])


@pytest.mark.parametrize(("names", "depths"), [
    (["b.stem.0.weight", "b.layer1.0.conv1.weight", "b.layer1.0.downsample.0.weight", "b.layer1.1.conv1.weight",
      "b.layer2.0.conv1.weight"], [1, 2, 2, 3, 4]),
    (["b.model.pos_embed", "b.model.patch_embed.proj.weight", "b.model.blocks.0.mlp.fc1.weight",
      "b.model.blocks.1.attn.qkv.weight", "b.model.norm.weight"], [0, 0, 1, 2, 2]),
    (["b.model.stem_0.weight", "b.model.stages_0.blocks.0.norm.weight", "b.model.stages_0.blocks.1.norm.weight",
      "b.model.stages_1.downsample.1.weight", "b.model.stages_1.blocks.0.norm.weight"], [0, 1, 2, 3, 4]),
])
def test_a_layer_is_a_block_of_a_stage(names: list[str], depths: list[int]) -> None:
    assert list(layer_depths(names).values()) == depths


def test_the_rate_scales_with_the_global_batch_when_asked() -> None:
    assert build(nn.Linear(2, 2), global_batch=32).param_groups[0]["lr"] == 0.1
    assert build(nn.Linear(2, 2), global_batch=32, scale_lr=True).param_groups[0]["lr"] == pytest.approx(0.2)


def test_frozen_parameters_are_in_no_group() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    net[0].requires_grad_(False)
    assert sorted(len(one) for group in build(net).param_groups for one in group["params"]) == [3, 3]
    with pytest.raises(ValueError, match="nothing to train"):
        build(net.requires_grad_(False))


def test_nesterov_reaches_sgd() -> None:
    assert build(nn.Linear(2, 2), nesterov=True).defaults["nesterov"]


@pytest.mark.parametrize(("flags", "message"), [
    ("--nesterov --adamw", "--nesterov is a form of SGD's momentum"),
    ("--nesterov --momentum 0", "--nesterov is a form of SGD's momentum"),
    ("--lr_schedule scl-poly", "scl-poly needs --rlx_off_epoch"),
    ("--lr_schedule scl-poly --rlx_off_epoch 9 --max_epoch 9", "would restart in epoch 9 .* ends after 9"),
    ("--layer_decay 1.2", "--layer_decay is 1.2"),
])
def test_flags_that_clash_are_refused_at_once(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse(flags.split())
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("flag", "value"), [
    ("lr", "-1"), ("momentum", "1.5"), ("weight_decay", "-1"), ("backbone_lr_factor", "0"), ("head_lr_factor", "0"),
    ("poly_exp", "-1"), ("repoly", "nan"), ("rescale", "0"), ("warmup_steps", "-3"), ("clip_grad", "-1"),
])
def test_a_value_out_of_range_is_refused_by_its_flags_name(flag: str, value: str,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse([f"--{flag}", value])
    assert f"--{flag}: '{value}' is not a" in capsys.readouterr().err


def test_flags_reach_optimizer_and_schedule() -> None:
    flags = "--lr 0.2 --scale_lr --lr_schedule scl-poly --rlx_off_epoch 5 --rescale 0.5 --repoly 2 --max_epoch 10"
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


def build(net: nn.Module, global_batch: int = 16, **changes: Any) -> torch.optim.Optimizer:
    options = optimizer.OptimizerOptions(**{"lr": 0.1, "weight_decay": 0.01, **changes})
    return optimizer.build(net, options, global_batch=global_batch)


def test_norms_and_biases_decay_only_when_asked() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    for decay_norms, expected in ((False, 0.0), (True, 0.01)):
        matrices, vectors = build(net, decay_norms=decay_norms).param_groups
        assert [one.ndim for one in matrices["params"]] == [4] and matrices["weight_decay"] == 0.01
        assert len(vectors["params"]) == 3 and vectors["weight_decay"] == expected


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
    schedule = optimizer.build_schedule(stepper, optimizer.ScheduleOptions(poly_exp=1.0), total_steps=10)
    rates = []
    for _ in range(10):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        schedule.step()
    assert rates == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])
