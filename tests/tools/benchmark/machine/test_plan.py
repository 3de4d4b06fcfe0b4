"""What is measured on which device, and for how long at most."""
from __future__ import annotations

import pytest
import torch

from tools.benchmark.infer import parse_setting
from tools.benchmark.launchers import names
from tools.benchmark.machine import plan
from tools.benchmark.machine.command import PARTS

PLANS = {"full": plan.FULL, "quick": plan.QUICK, "cpu": plan.CPU}
CUDA = torch.device("cuda")


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_names_what_exists(name: str) -> None:
    chosen = PLANS[name]
    assert set(chosen.limits) == set(PARTS)
    for some in (chosen.compared_runs, chosen.staged_runs, chosen.more_runs):
        assert set(some) <= set(chosen.runs) <= set(names())
    assert set(chosen.training) <= set(plan.TRAINING_FLAGS)
    for group in chosen.settings:
        for setting in group:
            parse_setting(setting)
    # the comparison needs float32, and the share of the rate each arithmetic that is predicted in
    assert "fp32" in chosen.arithmetic
    assert {setting.split("+")[0] for group in chosen.settings for setting in group} <= set(
        chosen.arithmetic)


def test_the_limits_add_up_to_what_is_promised() -> None:
    # 8 minutes and about 4, with some starts of a process, 6 s each
    assert sum(plan.FULL.limits.values()) <= 8 * 60
    assert sum(plan.QUICK.limits.values()) <= 4 * 60


@pytest.mark.parametrize(("capability", "arithmetic"), [
    ((9, 0), ("bf16", "fp16", "tf32", "fp32")),
    ((7, 5), ("fp16", "fp32")),
])
def test_an_older_gpu_is_not_asked_for_what_it_lacks(
        monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int],
        arithmetic: tuple[str, ...]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    chosen = plan.plan_for(CUDA, quick=True)
    assert chosen.arithmetic == arithmetic
    assert {name.split("+")[0] for name in chosen.training} == set(arithmetic)
    settings = {name.split("+")[0] for group in chosen.settings for name in group}
    assert settings == {"bf16", "fp16"} & set(arithmetic)


def test_a_cpu_has_the_reduced_form_only() -> None:
    for quick in (True, False):
        assert plan.plan_for(torch.device("cpu"), quick) is plan.CPU
