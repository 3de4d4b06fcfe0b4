"""Boundary label relaxation: worked by hand, against its plain definition, and where it is off."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor

import loss
from loss import pixel


def case(shape: tuple[int, ...] = (2, 5, 8, 9), seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(
        0, shape[1], (shape[0], shape[2] // 2, shape[3] // 3), generator=generator
    )
    # blocks, so that there are inner pixels too
    labels = labels.repeat_interleave(2, 1).repeat_interleave(3, 2)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    return torch.randn(shape, generator=generator), labels


def defined(logits: Tensor, labels: Tensor, strict: tuple[int, ...] = ()) -> Tensor:
    """-log of the summed probability of the classes around each pixel, pixel by pixel."""
    scores = logits.double().softmax(1)
    losses = torch.zeros(labels.shape, dtype=torch.double)
    for n, y, x in (labels != 255).nonzero().tolist():
        window = labels[n, max(0, y - 1):y + 2, max(0, x - 1):x + 2]
        candidates = {int(each) for each in window.flatten() if each != 255}
        if int(labels[n, y, x]) in strict:
            candidates = {int(labels[n, y, x])}
        losses[n, y, x] = -scores[n, sorted(candidates), y, x].sum().log()
    return losses


@pytest.mark.parametrize("strict", [(), (0, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_papers_definition(strict: tuple[int, ...], seed: int) -> None:
    logits, labels = case(seed=seed)
    found = loss.RelaxedCrossEntropy(strict_classes=strict).losses(logits, labels)
    torch.testing.assert_close(
        found.double(), defined(logits, labels, strict), rtol=1e-5, atol=1e-6
    )


def test_a_row_by_hand() -> None:
    # classes 0 0 1 with uniform scores over three classes: the first pixel sees only 0, the others
    # 0 and 1
    found = loss.RelaxedCrossEntropy().losses(torch.zeros(1, 3, 1, 3), torch.tensor([[[0, 0, 1]]]))
    torch.testing.assert_close(found.exp(), torch.tensor([[[3.0, 1.5, 1.5]]]))


def test_without_a_bound_an_image_is_the_plain_mean_of_its_pixels() -> None:
    logits, labels = case()
    losses, valid = defined(logits, labels), labels != 255
    expected = sum(each[mask].mean() for each, mask in zip(losses, valid, strict=True)) / 2
    found = loss.RelaxedCrossEntropy(bound=0.0)({"main": logits}, labels)["main"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_inside_a_region_it_is_cross_entropy() -> None:
    logits, _ = case()
    labels = torch.full((2, 8, 9), 2)
    torch.testing.assert_close(loss.RelaxedCrossEntropy().losses(logits, labels),
                               pixel.pixel_cross_entropy(logits, labels, 255))


def test_from_the_given_epoch_on_nothing_is_relaxed() -> None:
    logits, labels = case()
    criterion = loss.DeepSupervision(loss.RelaxedCrossEntropy(off_epoch=2))
    plain = loss.ImageWeightedCrossEntropy()({"main": logits}, labels)["main"]
    for epoch, relaxes in ((0, True), (1, True), (2, False), (3, False)):
        criterion.set_epoch(epoch)
        assert torch.isclose(criterion({"main": logits}, labels)["main"], plain) != relaxes


def test_images_do_not_affect_each_other() -> None:
    logits, labels = case()
    logits.requires_grad_()
    other = labels.clone()
    other[1] = 0
    gradients = [
        torch.autograd.grad(loss.RelaxedCrossEntropy()({"main": logits}, each)["main"], logits)[0]
        for each in (labels, other)
    ]
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
