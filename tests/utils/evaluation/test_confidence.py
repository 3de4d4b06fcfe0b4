from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from utils.evaluation.confidence import (
    MEASURES,
    confidence_maps,
    log_probabilities,
    sharpened,
)


def test_measures_worked_out_by_hand() -> None:
    # probabilities 1/2, 1/4, 1/4
    logits = torch.tensor([math.log(2), 0.0, 0.0]).view(1, 3, 1, 1)
    maps = confidence_maps(logits, (1, 1))
    assert maps["probability"].item() == pytest.approx(0.5)
    assert maps["margin"].item() == pytest.approx(0.25)
    # 1/2 log 2 + 2 * 1/4 log 4 = 3/2 log 2
    assert maps["entropy"].item() == pytest.approx(1.5 * math.log(2) / math.log(3))


@pytest.mark.parametrize("size", [(5, 7), (17, 40), (300, 500)])
def test_maps_are_those_of_resized_logits(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits = 4 * torch.randn(2, 6, 5, 7)
    # the largest size takes several chunks
    wide = F.interpolate(logits, size, mode="bilinear", align_corners=True).softmax(1)
    first, second = wide.topk(2, dim=1).values.unbind(1)
    entropy = -(wide * wide.log()).sum(1) / math.log(6)
    maps = confidence_maps(logits.clone(), size)
    for name, expected in zip(MEASURES, (first, first - second, entropy), strict=True):
        torch.testing.assert_close(maps[name], expected, atol=1e-5, rtol=0)


def test_only_the_measures_that_are_asked_for_are_computed() -> None:
    logits = torch.randn(1, 3, 4, 4)
    before = logits.clone()
    maps = confidence_maps(logits, (4, 4), ("margin",))
    assert list(maps) == ["margin"]
    assert torch.equal(logits, before)


@pytest.mark.parametrize(("logits", "expected"), [([50.0, -50.0], (1, 1, 0)),
                                                  ([3.0, 3.0], (0.5, 0, 1))])
def test_certain_and_equal_classes_are_the_ends_of_the_scale(
        logits: list[float], expected: tuple[float, ...]) -> None:
    maps = confidence_maps(torch.tensor(logits).view(1, 2, 1, 1), (1, 1))
    assert [maps[name].item() for name in MEASURES] == pytest.approx(expected)


def test_a_temperature_of_probabilities_is_that_of_their_logits() -> None:
    logits = torch.randn(1, 4, 3, 3)
    scaled = sharpened(logits.softmax(1), 2.0)
    torch.testing.assert_close(scaled, (logits / 2).softmax(1))
    unchanged = logits.softmax(1)
    assert sharpened(unchanged, 1.0) is unchanged


def test_the_logarithm_of_zero_is_finite() -> None:
    assert torch.isfinite(log_probabilities(torch.tensor([0.0, 1.0]))).all()
