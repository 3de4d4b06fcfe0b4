"""Focal loss."""
from __future__ import annotations

import math

import pytest
import torch

import loss
from tests.loss.cases import case, mean_cross_entropy, total


def test_focal_weights_a_pixel_by_the_error_squared() -> None:
    # p = 1/2: (1 - p)^2 log 2 = log 2 / 4
    logits, labels = torch.zeros(1, 2, 1, 3), torch.zeros(1, 1, 3, dtype=torch.long)
    assert total(loss.FocalLoss(gamma=2.0), logits, labels).item() == pytest.approx(math.log(2) / 4)


def test_gamma_0_is_cross_entropy() -> None:
    logits, labels = case()
    torch.testing.assert_close(
        total(loss.FocalLoss(gamma=0.0), logits, labels), mean_cross_entropy(logits, labels)
    )


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0, not -1 \(--focal\)"):
        loss.FocalLoss(gamma=-1)
