"""Activation checkpointing changes no number."""

from __future__ import annotations

import torch

from tests.tiny_training import Net, TinyTraining, batch
from utils.training.memory import recompute


def test_recomputing_changes_no_number() -> None:
    plain, again = Net(), Net()
    assert recompute(again.backbone) == 1
    for net in (plain, again):
        for _ in range(2):
            TinyTraining(net).step(batch())
    for one, other in zip(plain.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
