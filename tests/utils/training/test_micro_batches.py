"""Micro-batches add up to the step of the whole batch."""

from __future__ import annotations

import logging

import pytest
import torch

import loss
from tests.tiny_training import Mean, Net, TinyTraining, batch, weights
from utils.batches import split


@pytest.mark.parametrize(("norm", "same"), [("global", True), ("rank", False)])
def test_accumulated_parts_take_the_step_of_the_whole_batch(norm: str, same: bool) -> None:
    whole, parts = Net().eval(), Net().eval()
    whole.train = parts.train = lambda mode=True: (
        None
    )  # batch statistics would differ between parts
    one = TinyTraining(whole).step(batch())
    two = TinyTraining(parts, accumulate=2, loss_norm=norm).step(batch())
    assert torch.allclose(one["main"], two["main"], rtol=1e-5) is same
    assert torch.allclose(weights(whole), weights(parts), rtol=1e-5, atol=1e-7) is same


def test_a_term_that_has_no_mean_over_the_step_is_averaged_over_its_parts_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    net = Net().eval()
    net.train = lambda mode=True: None  # batch statistics would differ between parts
    criterion = loss.SumOfLosses([loss.CrossEntropy(), loss.DiceLoss()])
    training = TinyTraining(net, accumulate=2, criterion=criterion)
    parts = split(batch(), 2)
    outputs = net(batch()["image"])
    alone = [criterion(net(part["image"]), part["label"])["dice"].item() for part in parts]
    with caplog.at_level(logging.INFO):
        terms = training.step(batch())
        training.step(batch())
    assert terms["dice"].item() == pytest.approx(sum(alone) / 2)
    assert terms["main"].item() == pytest.approx(Mean()(outputs, batch()["label"])["main"].item())
    assert (
        caplog.text.count("--loss_norm global does not reach dice: averaged over micro-batches")
        == 1
    )
