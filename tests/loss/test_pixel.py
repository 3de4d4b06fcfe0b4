"""Weighted means, the selection of the k-th largest value, and the checks of inputs."""
from __future__ import annotations

import pytest
import torch

from loss import pixel
from tests.loss.cases import case


def test_selection_stays_fast_on_values_that_decrease_steadily() -> None:
    falling = torch.linspace(1, 0, 1 << 20)                 # minutes where a selection is quadratic
    assert pixel.kth_largest(falling, 1000) == falling[999]
    assert pixel.kth_largest(falling, 1 << 21) == 0


def test_the_kth_largest_is_that_of_a_sort() -> None:
    values = torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
    ranked = values.flatten().sort(descending=True).values
    assert [pixel.kth_largest(values, k) for k in (1, 40, 77)] == [
        ranked[0],
        ranked[39],
        ranked[76],
    ]
    assert pixel.kth_largest(values, 100) == ranked[-1]


@pytest.mark.gpu
def test_the_kth_largest_on_a_gpu_is_that_of_a_sort(gpu: torch.device) -> None:
    values = torch.randn(3, 1 << 20, generator=torch.Generator().manual_seed(0))
    ranked = values.flatten().sort(descending=True).values
    for k in (1, 1000, 1 << 20, values.numel(), 1 << 23):
        found = pixel.kth_largest(values.to(gpu), k)
        assert found.cpu() == ranked[min(k, values.numel()) - 1]


def test_a_weighted_mean_by_hand() -> None:
    # (1 * 2 + 3 * 4) / (1 + 3)
    values, weights = torch.tensor([2.0, 4.0, 9.0]), torch.tensor([1.0, 3.0, 0.0])
    assert pixel.mean_over(values, weights) == 3.5


def test_a_mean_without_weight_is_0_with_zero_gradient() -> None:
    values = torch.ones(3, requires_grad=True)
    mean = pixel.mean_over(values, torch.zeros(3))
    mean.backward()
    assert mean == 0
    assert (values.grad == 0).all()


def test_ignored_pixels_have_no_loss() -> None:
    logits, labels = case()
    losses = pixel.pixel_cross_entropy(logits, labels, 255)
    assert (losses[labels == 255] == 0).all()
    assert (losses[labels != 255] > 0).all()


def test_logits_without_a_batch_are_refused() -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="do not match: expected"):
        pixel.check_match(logits[0], labels, 255)
