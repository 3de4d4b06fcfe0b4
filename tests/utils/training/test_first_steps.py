"""The memory of a step is measured without effect, and the first images are written."""
from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_training import Net, TinyTraining, batch, weights
from utils.training.first_steps import (
    PICTURE_STEPS,
    AugmentedImages,
    MemoryEstimate,
    optimizer_state_size,
)

NORMALIZATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("build", "tensors"), [(torch.optim.SGD, 1), (torch.optim.AdamW, 2)])
def test_the_state_of_an_optimizer_is_as_large_as_it_becomes(build: Any, tensors: int) -> None:
    optimizer = build(nn.Linear(1000, 1000, bias=False).parameters(), lr=0.1)
    assert optimizer_state_size(optimizer) == pytest.approx(tensors * 4e6 / 1e9)


def test_an_estimate_of_memory_changes_nothing_and_is_made_once(
        caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    training = TinyTraining(net)
    before, statistics = weights(net), net.backbone["stage"][1].running_mean.clone()
    generator = torch.get_rng_state()
    estimate = MemoryEstimate(training.model, training.micro_batches, training.optimizer,
                              device=training.device, precision=training.precision)
    with caplog.at_level(logging.INFO):
        estimate(batch(), 0)
        estimate(batch(), 1)
    assert caplog.text.count("a step brings this process to about") == 1
    assert torch.equal(weights(net), before)
    assert torch.equal(net.backbone["stage"][1].running_mean, statistics)
    assert all(parameter.grad is None for parameter in net.parameters())
    # the batch of the test draws from the generator, the estimate does not
    batch()
    after = torch.get_rng_state()
    torch.set_rng_state(generator)
    batch()
    assert torch.equal(after, torch.get_rng_state())


def test_the_images_of_the_first_steps_are_written_as_the_network_sees_them(
        tmp_path: Path) -> None:
    spec = SimpleNamespace(palette=np.zeros((256, 3), np.uint8))
    # (0.2 * 255 / 255 - 0.5) / 0.25 = -1.2 is the gray level 51
    prepared = {"image": torch.full((1, 3, 40, 60), -1.2), "label": torch.zeros(1, 40, 60).long(),
                "name": ["a"]}
    inspection = AugmentedImages(tmp_path, lambda batch: prepared, NORMALIZATION, spec)
    for step in range(PICTURE_STEPS + 1):
        inspection(prepared, step)
    names = sorted(path.name for path in (tmp_path / "augmented").iterdir())
    assert names == [f"step_{step}.png" for step in range(PICTURE_STEPS)]
    picture = cv2.imread(str(tmp_path / "augmented" / "step_0.png"))
    assert (picture == 51).all(axis=2).sum() >= 40 * 60 * 0.9


def test_images_with_a_single_label_are_written_without_an_overlay(tmp_path: Path) -> None:
    prepared = {"image": torch.full((2, 3, 40, 60), -1.2), "label": torch.ones(2, 1, 1).long(),
                "name": ["cat/1.jpg", "dog/1.jpg"]}
    inspection = AugmentedImages(tmp_path, lambda batch: prepared, NORMALIZATION,
                                 SimpleNamespace())
    inspection(prepared, 0)
    picture = cv2.imread(str(tmp_path / "augmented" / "step_0.png"))
    assert (picture == 51).all(axis=2).sum() == 2 * 40 * 60
