"""Steps that are not finite are found, skipped and counted."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.tiny_training import Net, TinyTraining, batch, weights
from utils.training.progress import NotFinite
from utils.training.recovery import MAX_SKIPS, first_not_finite


@pytest.mark.parametrize("loss_scaling", [False, True])
def test_a_step_that_is_not_finite_can_be_left_out(
        loss_scaling: bool, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    training, bad = TinyTraining(net, on_nan="skip", loss_scaling=loss_scaling), batch()
    training.step(batch())
    scale = training.scaler.get_scale()
    before, statistics = weights(net), net.backbone["stage"][1].running_mean.clone()
    bad["image"][2, 0, 0, 0] = float("nan")
    with caplog.at_level(logging.WARNING):
        assert training.step(bad) is None
    assert "step 2 left out: its gradient is not finite (images a, b, c, d)" in caplog.text
    assert torch.equal(weights(net), before)
    assert torch.equal(net.backbone["stage"][1].running_mean, statistics)
    assert training.scaler.get_scale() == (scale / 2 if loss_scaling else scale)
    assert training.step(batch()) is not None


def test_a_run_that_only_leaves_steps_out_stops() -> None:
    training, bad = TinyTraining(Net(), on_nan="skip"), batch()
    bad["image"][:] = float("inf")
    training.step(batch())
    for _ in range(MAX_SKIPS - 1):
        assert training.step(bad) is None
    with pytest.raises(NotFinite, match=r"lower --lr"):
        training.step(bad)


def test_nonsense_is_found_in_losses_and_in_weights() -> None:
    net = Net()
    steps = [(5, {"main": 1.0}), (6, {"main": float("nan")}), (7, {"main": float("nan")})]
    assert first_not_finite(steps, net) == 6
    assert first_not_finite(steps[:1], net) is None
    with torch.no_grad():
        net.head.bias[0] = float("inf")
    assert first_not_finite(steps[:1], net) == 5
