"""Counts worked out by hand."""
from __future__ import annotations

import pytest
import torch

from tools.pretrain.accuracy import Accuracy


def test_top_1_and_top_5_are_counted_over_batches() -> None:
    accuracy = Accuracy(torch.device("cpu"))
    # classes from the largest logit to the smallest: 6 5 4 3 2 1 0, and 0 1 2 3 4 5 6
    rising, falling = torch.arange(7.0), -torch.arange(7.0)
    accuracy.add(torch.stack([rising, rising, rising]), torch.tensor([6, 2, 1]))
    accuracy.add(torch.stack([falling]), torch.tensor([4]))
    # first among the largest: only the label 6; among the five largest: 6, 2 and 4, but not 1
    assert (accuracy.images, accuracy.top1, accuracy.top5) == (4, 1 / 4, 3 / 4)


def test_with_fewer_than_five_classes_every_image_counts_for_top_5() -> None:
    accuracy = Accuracy(torch.device("cpu"))
    accuracy.add(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0, 2.0, 0.0]]),
                 torch.tensor([2, 2, 2]))
    assert accuracy.top1 == pytest.approx(1 / 3)
    assert accuracy.top5 == 1
