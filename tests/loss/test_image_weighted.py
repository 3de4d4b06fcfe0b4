"""Cross entropy weighted by the histogram of each image or batch."""
from __future__ import annotations

import math

import pytest
import torch

import loss
from loss import pixel
from tests.loss.cases import case, total


@pytest.mark.parametrize("criterion", [loss.ImageWeightedCrossEntropy(), loss.RelaxedCrossEntropy(),
                                       loss.RelaxedCrossEntropy(bound=0.0, strict_classes=(0, 3))],
                         ids=lambda criterion: type(criterion).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_batchs_loss_is_the_mean_of_its_images_losses(
    criterion: loss.Criterion, seed: int
) -> None:
    logits, labels = case((3, 5, 12, 16), seed=seed)
    labels[2] = 255  # an image without labels counts, with a loss of 0
    whole = total(criterion, logits, labels)
    alone = [total(criterion, logits[i:i + 1], labels[i:i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, sum(alone) / 3)
    assert criterion.normalizers(labels) == {"main": 3}


def test_batch_weights_are_the_whole_batchs() -> None:
    logits, labels = case()
    losses, valid = pixel.pixel_cross_entropy(logits, labels, 255), labels != 255
    frequencies = torch.bincount(labels[valid], minlength=5) / valid.sum()
    weights = (1 + 0.5 * (1 - frequencies))[labels[valid]]
    expected = (losses[valid] * weights).sum() / weights.sum()
    criterion = loss.ImageWeightedCrossEntropy(bound=0.5, per_batch=True)
    torch.testing.assert_close(total(criterion, logits, labels), expected)
    assert criterion.normalizers(labels) == {"main": None}


def test_image_weights_favor_the_rare_class() -> None:
    # three pixels of class 0 and one of class 1, all at p = 1/2: weights 1.25 and 1.75 change no
    # mean of equal losses, but each pixel's part of the gradient: 1.25 / 5.5 and 1.75 / 5.5, times
    # p = 1/2
    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)
    labels = torch.tensor([[[0, 0, 0, 1]]])
    result = total(loss.ImageWeightedCrossEntropy(bound=1.0), logits, labels)
    result.backward()
    assert result.item() == pytest.approx(math.log(2))
    assert logits.grad[0, 1, 0].tolist() == pytest.approx([1.25 / 11] * 3 + [-1.75 / 11])


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0, not -1 \(--wt_bound\)"):
        loss.ImageWeightedCrossEntropy(bound=-1)
