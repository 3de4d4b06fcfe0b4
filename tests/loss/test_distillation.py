"""Distillation, with numbers worked out by hand."""
from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import loss
from loss.distillation import (
    METHODS,
    Distillation,
    at_finer_size,
    channel_kl,
    feature_distance,
    pixel_kl,
    sampled,
)

IGNORED = 255


def maps(*channels: list[float]) -> Tensor:
    """One image of one row: each list holds the values of a channel."""
    return torch.tensor(channels)[None, :, None, :]


def outputs(size: int = 4, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    named = {"main": 3, "teacher_main": 3, "feature": 5, "teacher_feature": 5}
    return {name: torch.randn(2, channels, size, size, generator=generator)
            for name, channels in named.items()}


def test_the_divergence_of_two_classes_is_that_worked_out_by_hand() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 log(3/2) + 1/4 log(1/2); equal at the second pixel
    teacher = maps([math.log(3), 0.0], [0.0, 0.0])
    student = maps([0.0, 0.0], [0.0, 0.0])
    at_first = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert pixel_kl(student, teacher).item() == pytest.approx(at_first / 2)
    first_only = torch.tensor([[[True, False]]])
    assert pixel_kl(student, teacher, first_only).item() == pytest.approx(at_first)
    # logits divided by T have the same probabilities, and the loss is T^2 times as large
    hot = pixel_kl(2 * student, 2 * teacher, temperature=2.0)
    assert hot.item() == pytest.approx(4 * at_first / 2)


def test_the_teacher_is_the_first_distribution_of_the_divergence() -> None:
    # KL(q || p) = 1/2 log(2/3) + 1/2 log(2) is another number
    teacher, student = maps([math.log(3)], [0.0]), maps([0.0], [0.0])
    other = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert pixel_kl(teacher, student).item() == pytest.approx(other)
    assert pixel_kl(student, teacher).item() != pytest.approx(other)


def test_each_channel_is_a_distribution_over_the_positions() -> None:
    # channel 0: p = (3/4, 1/4), q = (1/2, 1/2); channel 1 is equal up to a constant: 0
    teacher = maps([4 * math.log(3), 0.0], [1.0, 2.0])
    student = maps([0.0, 0.0], [7.0, 8.0])
    channel = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert channel_kl(student, teacher, temperature=4.0).item() == pytest.approx(16 * channel / 2)
    # (N, C) = (2, 2): two equal images have the mean of one
    twice = channel_kl(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1), temperature=4.0)
    assert twice.item() == pytest.approx(16 * channel / 2)


def test_positions_without_a_label_have_no_share_of_a_channel() -> None:
    teacher, student = maps([4 * math.log(3), 0.0, 50.0]), maps([0.0, 0.0, -50.0])
    student.requires_grad_()
    mask = torch.tensor([[[True, True, False]]])
    value = channel_kl(student, teacher, mask, temperature=4.0)
    channel = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert value.item() == pytest.approx(16 * channel)
    value.backward()
    assert student.grad[..., 2].item() == 0 and student.grad.isfinite().all()


def test_features_are_compared_by_their_direction() -> None:
    # cos = 1, 0 and -1: 2 - 2 cos = 0, 2 and 4
    teacher = maps([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    student = maps([9.0, 0.0, -2.0], [0.0, 5.0, 0.0])
    assert feature_distance(student, teacher).item() == pytest.approx(2.0)
    last_two = torch.tensor([[[False, True, True]]])
    assert feature_distance(student, teacher, last_two).item() == pytest.approx(3.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_student_that_equals_its_teacher_has_no_loss(method: str) -> None:
    both = outputs()
    both |= {f"teacher_{name}": both[name] for name in ("main", "feature")}
    (term,) = Distillation({method: 1.0})(both, torch.zeros(2, 4, 4).long()).values()
    assert term.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_extreme_logits_give_neither_nan_nor_infinity(method: str) -> None:
    """Where a softmax underflows to 0, its logarithm would be -inf."""
    extreme = {name: 1e4 * values for name, values in outputs().items()}
    assert 0 in extreme["teacher_main"].softmax(1)
    for name in ("main", "feature"):
        extreme[name].requires_grad_()
    (term,) = Distillation({method: 1.0})(extreme, torch.zeros(2, 4, 4).long()).values()
    term.backward()
    student = extreme[METHODS[method].output]
    assert term.isfinite() and term > 0 and student.grad.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_crop_without_labels_costs_nothing_where_only_labels_teach(method: str) -> None:
    both = outputs()
    for name in ("main", "feature"):
        both[name].requires_grad_()
    labels = torch.full((2, 8, 8), IGNORED)
    taught = Distillation({method: 1.0})(both, labels)[method]
    assert taught > 0
    untaught = Distillation({method: 1.0}, labeled_only=True)(both, labels)[method]
    untaught.backward()
    assert untaught.item() == 0 and both[METHODS[method].output].grad.abs().sum() == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_in_inference_mode_teaches(method: str) -> None:
    both = outputs()
    for name in ("main", "feature"):
        both[name].requires_grad_()
        with torch.inference_mode():
            both[f"teacher_{name}"] = both[f"teacher_{name}"] * 1
    Distillation({method: 2.0})(both, torch.zeros(2, 4, 4).long())[method].backward()
    assert both[METHODS[method].output].grad.abs().sum() > 0


def test_details_of_a_finer_teacher_are_not_lost() -> None:
    """At the student's size, every second pixel of the teacher would not teach."""
    student = torch.zeros(1, 2, 2, 2)
    teacher = torch.zeros(1, 2, 3, 3)
    teacher[:, 0, 1] = 5.0
    labels = torch.zeros(1, 12, 12).long()
    term = Distillation({"kl": 1.0})({"main": student, "teacher_main": teacher}, labels)["kl"]
    assert term.item() == pytest.approx(pixel_kl(torch.zeros(1, 2, 3, 3), teacher).item())
    assert term > 0
    # a coarser teacher is resized to the student
    first, second = at_finer_size(torch.zeros(1, 2, 4, 3), torch.zeros(1, 2, 2, 5).bfloat16())
    assert first.shape == second.shape == (1, 2, 4, 5) and second.dtype == torch.float32


def test_labels_are_read_where_the_logits_lie() -> None:
    # with aligned corners the three columns of logits lie at 0, 2 and 4 of five
    labels = torch.arange(5).repeat(1, 5, 1)
    assert sampled(labels, torch.Size((2, 3))).tolist() == [[[0, 2, 4], [0, 2, 4]]]


def test_the_weights_rise_linearly_from_0() -> None:
    criterion = Distillation({"kl": 2.0}, warmup_steps=4)
    both, labels = outputs(), torch.zeros(2, 4, 4).long()
    whole = 2 * pixel_kl(both["main"], both["teacher_main"]).item()
    for step, share in ((0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (9, 1.0)):
        # through the wrapper that train.py builds
        loss.SumOfLosses([loss.CrossEntropy(), criterion]).set_step(step)
        assert criterion(both, labels)["kl"].item() == pytest.approx(share * whole)


def test_a_temperature_replaces_those_of_all_methods() -> None:
    both, labels = outputs(), torch.zeros(2, 4, 4).long()
    terms = Distillation({"kl": 1.0, "cwd": 3.0, "feature": 1.0}, temperature=2.0)(both, labels)
    main = both["main"], both["teacher_main"]
    assert terms["kl"].item() == pytest.approx(pixel_kl(*main, temperature=2.0).item())
    assert terms["cwd"].item() == pytest.approx(3 * channel_kl(*main, temperature=2.0).item())
    default = Distillation({"cwd": 1.0})(both, labels)["cwd"]
    assert default.item() == pytest.approx(channel_kl(*main, temperature=4.0).item())


def test_micro_batches_add_up_to_the_loss_of_the_batch() -> None:
    criterion = Distillation({"kl": 1.0, "cwd": 1.0, "feature": 1.0})
    both, labels = outputs(), torch.zeros(2, 4, 4).long()
    whole = criterion(both, labels)
    halves = [criterion({name: values[i:i + 1] for name, values in both.items()}, labels[i:i + 1])
              for i in range(2)]
    counts = [criterion.normalizers(labels[i:i + 1]) for i in range(2)]
    for name, term in whole.items():
        parts = [half[name] * count[name] / 32 for half, count in zip(halves, counts, strict=True)]
        assert sum(parts).item() == pytest.approx(term.item(), rel=1e-5)
    assert Distillation({"kl": 1.0}, labeled_only=True).normalizers(labels) == {"kl": None}


def test_outputs_without_a_teacher_are_refused() -> None:
    both = outputs()
    del both["teacher_feature"]
    with pytest.raises(ValueError, match="needs the outputs feature and teacher_feature"):
        Distillation({"feature": 1.0})(both, torch.zeros(2, 4, 4).long())
