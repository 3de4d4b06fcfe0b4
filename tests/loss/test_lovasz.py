"""Lovasz-softmax."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import loss
from loss.lovasz import jaccard_gradient
from tests.loss.cases import total


def test_lovasz_of_a_hard_prediction_is_the_mean_of_one_minus_iou() -> None:
    generator = torch.Generator().manual_seed(3)
    labels, predicted = (torch.randint(0, 3, (2, 6, 7), generator=generator) for _ in range(2))
    labels[0, :2] = 255
    logits = 1e4 * F.one_hot(predicted, 4).movedim(-1, 1).float()         # class 3 is nowhere
    valid = labels != 255
    ious = [
        ((labels == i) & (predicted == i) & valid).sum()
        / (((labels == i) | (predicted == i)) & valid).sum()
        for i in range(3)
    ]
    assert total(loss.LovaszSoftmax(), logits, labels).item() == pytest.approx(
        1 - sum(ious).item() / 3, rel=1e-5
    )


def test_the_gradient_by_hand() -> None:
    # Two pixels of the class and one other, wrong in this order: class, other, class. 1 - IoU after
    # each is 1 - 1/2, 1 - 1/3, 1 - 0/3.
    gradient = jaccard_gradient(torch.tensor([1.0, 0.0, 1.0]))
    assert gradient.cumsum(0).tolist() == pytest.approx([1 / 2, 2 / 3, 1])
