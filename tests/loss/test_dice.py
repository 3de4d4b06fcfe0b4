"""Dice loss."""
from __future__ import annotations

import pytest
import torch

import loss
from tests.loss.cases import total


def test_dice_by_hand() -> None:
    # p = 1/2 everywhere, labels 0 0 1: class 0: 2 * 1 / (1.5 + 2), class 1: 2 * 0.5 / (1.5 + 1);
    # class 2 is not there
    logits = torch.tensor([0.0, 0.0, -1e4])[None, :, None, None].expand(1, 3, 1, 3)
    result = total(loss.DiceLoss(weight=2.0), logits, torch.tensor([[[0, 0, 1]]]))
    assert result.item() == pytest.approx(2 * (1 - (2 / 3.5 + 1 / 2.5) / 2))
