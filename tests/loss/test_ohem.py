"""Online hard example mining: which pixels are kept, by hand, by a sort, and as recorded."""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import loss
from loss import pixel
from tests.loss.cases import case, total
from tests.loss.recorded import drawn, recorded


def test_ohem_keeps_exactly_the_hard_pixels() -> None:
    # two classes, true class 0: p = 1 / (1 + e^(b - a)) for logits (a, b)
    margins = torch.tensor([-2.0, 0.0, 0.5, 1.0, 3.0, 5.0])  # p = .12 .50 .62 .73 .95 .99
    logits = torch.stack([margins, torch.zeros(6)])[None, :, None].requires_grad_()
    labels = torch.zeros(1, 1, 6, dtype=torch.long)
    loss.OhemCrossEntropy(thresh=0.7, min_kept=1)({"main": logits}, labels)["main"].backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [True, True, True, False, False, False]


def test_ohem_keeps_the_hardest_when_too_few_are_hard() -> None:
    margins = torch.tensor([4.0, 1.0, 3.0, 2.0, 5.0, 6.0])                # every p above 0.7
    logits = torch.stack([margins, torch.zeros(6)])[None, :, None].requires_grad_()
    labels = torch.tensor([[[0, 0, 0, 0, 0, 255]]])
    result = loss.OhemCrossEntropy(thresh=0.7, min_kept=3)({"main": logits}, labels)["main"]
    result.backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [False, True, True, True, False, False]
    assert result.item() == pytest.approx(
        sum(math.log1p(math.exp(-margin)) for margin in (1, 2, 3)) / 3, rel=1e-6
    )


def test_the_smallest_kept_loss_is_that_of_a_sort() -> None:
    logits, labels = case()
    losses = pixel.pixel_cross_entropy(logits, labels, 255)
    criterion, valid = loss.OhemCrossEntropy(0.7, 50), labels != 255
    ranked = losses.masked_fill(~valid, -1.0).flatten().sort(descending=True).values
    assert criterion._smallest_kept_loss(losses, valid) == min(
        ranked[49], torch.tensor(-math.log(0.7))
    )


def test_ohem_selects_without_the_class_weights_and_averages_with_them() -> None:
    margins = torch.tensor([-2.0, 3.0, 0.0])  # p = .12 .95 .50, the first is class 1's
    logits = torch.stack([torch.cat([-margins[:1], margins[1:]]), torch.zeros(3)])[None, :, None]
    labels = torch.tensor([[[1, 0, 0]]])
    result = total(loss.OhemCrossEntropy(0.7, 1, class_weights=[1.0, 3.0]), logits, labels)
    assert result.item() == pytest.approx((3 * math.log1p(math.exp(2)) + math.log(2)) / 4)


def test_ohem_selects_within_a_batch_and_so_has_no_normalizer() -> None:
    assert loss.OhemCrossEntropy().normalizers(case()[1]) == {"main": None}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thresh": 0.0}, "probability"),
        ({"min_kept": 0}, "at least 1"),
        ({"min_kept": 1.5}, "number of pixels"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.OhemCrossEntropy(**settings)


def test_a_fraction_of_kept_pixels_is_that_number_of_them() -> None:
    logits, labels = case()
    easy = {"main": logits + 9 * F.one_hot(labels.where(labels != 255, 0), 5).movedim(-1, 1)}
    by_share, by_count = (
        loss.OhemCrossEntropy(0.7, kept)(easy, labels) for kept in (0.25, labels.numel() // 4)
    )
    assert by_share == by_count


@pytest.mark.parametrize(
    "name", ["ohem_many_hard", "ohem_few_hard", "ohem_more_kept_than_valid", "ohem_low_thresh"]
)
def test_ohem_equals_the_recorded_numbers(parity: Path, name: str) -> None:
    cases, makers = recorded(parity)
    numbers = cases[name]
    labels = torch.from_numpy(
        makers.labels(numbers["label_seed"], (2, 64, 128), 19, numbers["void_share"])
    )
    logits = drawn(numbers["logit_seed"], (2, 19, 64, 128)) * np.float32(numbers["logit_scale"])
    bonus = torch.full((2, 1, 64, 128), numbers["correct_class_bonus"])
    logits = logits.scatter_add(
        1, labels.masked_fill(labels == 255, 0)[:, None], bonus
    ).requires_grad_()
    result = loss.OhemCrossEntropy(numbers["thresh"], numbers["min_kept"])(
        {"main": logits}, labels
    )["main"]
    result.backward()
    assert result.item() == pytest.approx(numbers["loss"], rel=1e-5)
    assert logits.grad.norm().item() == pytest.approx(numbers["grad_norm"], rel=1e-4)
    assert int((logits.grad.abs().sum(1) > 0).sum()) == numbers["pixels_with_grad"]


@pytest.mark.parametrize(
    ("scale", "bonus", "void", "thresh", "min_kept"),
    [
        (1.0, 0.0, 0.1, 0.7, 100),
        (0.5, 6.0, 0.3, 0.7, 700),
        (3.0, 2.0, 0.0, 0.2, 10),
        (1.0, 9.0, 0.95, 0.7, 500),
        (2.0, 5.0, 0.5, 0.9, 1),
        (0.1, 0.0, 0.1, 0.01, 300),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_ohem_is_the_recorded_rule_written_with_a_sort(
    scale: float, bonus: float, void: float, thresh: float, min_kept: int, seed: int
) -> None:
    draw, labels = case((2, 7, 24, 32), (24, 32), void, seed)
    correct = bonus * F.one_hot(labels.where(labels != 255, 0), 7).movedim(-1, 1)
    logits = (scale * draw.detach() + correct).requires_grad_()
    valid = labels != 255
    scores = logits.detach().double().softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0]
    kept = valid
    if valid.sum() >= min_kept:
        kept = valid & (scores <= max(thresh, scores[valid].sort().values[min_kept - 1].item()))
    expected = F.cross_entropy(logits, labels.where(kept, 255), ignore_index=255)
    result = loss.OhemCrossEntropy(thresh, min_kept)({"main": logits}, labels)["main"]
    gradients = [torch.autograd.grad(each, logits)[0] for each in (result, expected)]
    assert result.item() == pytest.approx(expected.item(), rel=1e-5)
    assert gradients[0].norm().item() == pytest.approx(gradients[1].norm().item(), rel=1e-4)
    assert ((gradients[0] != 0).any(1) == kept).all()
