"""Thresholds on the probability of a pixel's class."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.pseudo_label.selection import (
    CODES,
    Selection,
    code_above,
    codes,
    count,
    probability_of,
)


def test_a_code_stands_for_the_probabilities_up_to_the_next_code() -> None:
    probability = torch.tensor([0.0, 0.3, 0.5, 0.9, 0.999, 1 - 2.0 ** -20, 1.0])
    code = codes(probability)
    assert code.tolist() == sorted(code.tolist())
    # 1 - 0.5 is one halving of 24
    assert code[2] == CODES // 24 and code[0] == 0 and code[-1] == CODES - 1
    low, high = probability_of(code.numpy()), probability_of(code.numpy() + 1)
    # float32 holds 1 - p to 6e-8
    assert (low <= probability.double().numpy() + 1e-7).all()
    assert (probability.double().numpy() <= high + 1e-7).all()
    # a step is 0.8 % of 1 - p
    assert ((high - low) <= 0.0082 * (1 - low)).all()


def test_a_probability_that_is_not_a_number_is_the_least_sure() -> None:
    assert codes(torch.tensor([float("nan")])).tolist() == [0]
    chosen = Selection(threshold=0.0)
    labels = torch.tensor([3, 3], dtype=torch.uint8)
    assert chosen.select(labels, torch.tensor([float("nan"), 0.1])).tolist() == [255, 3]


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.9, 0.97, 1.0])
def test_codes_above_a_threshold_hold_no_probability_below_it(threshold: float) -> None:
    probability = torch.linspace(0, 1, 5001)
    above = codes(probability) >= code_above(threshold)
    assert (probability[above] >= threshold - 1e-6).all()
    # at most one step below the threshold is lost
    lost = probability[~above & (probability >= threshold)]
    assert (lost < threshold + 0.0083 * (1 - threshold) + 1e-6).all() or threshold == 1.0


def test_pixels_from_the_threshold_on_keep_their_label() -> None:
    labels = torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8)
    probability = torch.tensor([[0.9, 0.8999], [0.2, 1.0]])
    assert Selection().select(labels, probability).tolist() == [[0, 255], [255, 3]]
    assert Selection(threshold=0.0).select(labels, probability).tolist() == labels.tolist()


def test_pixels_are_counted_by_class_and_code() -> None:
    labels = torch.tensor([[0, 2], [2, 2]], dtype=torch.uint8)
    code = torch.tensor([[5, 7], [7, CODES - 1]], dtype=torch.int32)
    counts = count(labels, code, 3)
    assert counts.shape == (3, CODES) and counts.sum() == 4
    assert (counts[0, 5], counts[2, 7], counts[2, CODES - 1]) == (1, 2, 1)


def test_the_smallest_code_keeps_the_share_of_each_class() -> None:
    histogram = np.zeros((3, CODES), np.int64)
    # ten pixels each of a sure and of an unsure class, none of the third
    histogram[0, 1000:1010] = 1
    histogram[1, 10:20] = 1
    assert Selection(keep_share=0.5).smallest_codes(histogram)[:2].tolist() == [1005, 15]
    # 0.3 of ten are three, whatever the rounding of 0.3 * 10
    assert Selection(keep_share=0.3).smallest_codes(histogram)[:2].tolist() == [1007, 17]
    assert Selection(keep_share=1.0).smallest_codes(histogram)[:2].tolist() == [1000, 10]
    # the rarest share is still a pixel
    assert Selection(keep_share=1e-9).smallest_codes(histogram)[:2].tolist() == [1009, 19]


def test_a_share_and_a_threshold_keep_what_either_keeps() -> None:
    histogram = np.zeros((2, CODES), np.int64)
    histogram[0, 1000:1010] = 1
    histogram[1, 10:20] = 1
    both = Selection(threshold=float(probability_of(500)), keep_share=0.5)
    assert both.smallest_codes(histogram).tolist() == [500, 15]
    assert str(both).endswith("or at least 50 % of each class")


def test_no_share_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="--keep_share 0 keeps no pixel: give a share above 0"):
        Selection(keep_share=0.0)
