"""The stages of a prediction are complete, and their limits are worked out by hand."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tools.benchmark import models
from tools.benchmark.machine import plan, stages
from tools.benchmark.machine.worker import Deadline

CPU = torch.device("cpu")
TINY = replace(plan.CPU, staged_runs=("cityscapes_sfnet_dfv1",), staged_image=(64, 128), rounds=1,
               matrix_side=64, copied=1 << 20)
NAMES = {stages.PRODUCTS, stages.WARP, stages.UPSAMPLING, stages.REST, stages.ARG_MAX,
         stages.DECODE}


def test_every_stage_has_a_time_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "default_device", lambda: CPU)
    # 1,000 operations and 2,000 bytes a second
    monkeypatch.setattr(stages, "product_rate", lambda *args: {"per_second": 1000})
    monkeypatch.setattr(stages, "copy_rate", lambda *args: {"per_second": 2000})
    rows = {row["stage"]: row for row in stages.stages(TINY, Deadline(600))}
    assert set(rows) == NAMES
    assert min(row["seconds"] for row in rows.values()) > 0
    macs = models.cost("sfnet_dfnetv1", (64, 128)).macs
    assert rows[stages.PRODUCTS]["limit"] == pytest.approx(2 * macs / 1000)
    # logits of 19 classes at stride 16 in float32, and one byte a pixel
    assert rows[stages.ARG_MAX]["limit"] == pytest.approx((19 * 4 * 8 * 4 + 64 * 128) / 2000)
    assert rows[stages.DECODE]["limit"] > 3 * 64 * 128 / 2000


def test_operations_belong_to_their_stages() -> None:
    images, weights = torch.randn(1, 2, 8, 8), torch.randn(3, 2, 1, 1)
    grid = torch.zeros(1, 4, 4, 2)
    with torch.no_grad(), stages.StageClock(CPU) as clock:
        maps = F.conv2d(images, weights)
        F.interpolate(maps, size=(16, 16), mode="bilinear", align_corners=True)
        F.grid_sample(maps, grid, align_corners=True)
        (maps + 1).view(-1)
    # float32: the convolution reads 128 and 6 values, and writes 192
    assert clock.moved == {stages.PRODUCTS: 4 * (128 + 6 + 192),
                           stages.UPSAMPLING: 4 * (192 + 3 * 256),
                           stages.WARP: 4 * (192 + 32 + 3 * 16), stages.REST: 4 * (192 + 192)}
    assert set(clock.seconds) == set(clock.moved)


def test_a_network_that_cannot_be_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ValueError("no memory")

    monkeypatch.setattr(stages, "default_device", lambda: CPU)
    monkeypatch.setattr(stages, "predict", fail)
    (row,) = stages.stages(TINY, Deadline(600))
    assert row["arch"] == "sfnet_dfnetv1" and row["error"] == "ValueError: no memory"
