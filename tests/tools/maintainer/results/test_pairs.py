from __future__ import annotations

import pytest

from tools.maintainer.results import pairs
from utils.evaluation.statistics import Comparison


@pytest.mark.parametrize(("over_seeds", "images", "said"),
                         [((0.01, 0.02), (0.005, 0.03), "larger than the noise"),
                          ((-0.01, 0.02), (0.005, 0.03), "within the noise of the seeds"),
                          ((0.01, 0.02),
                           (-0.005, 0.03),
                           "seeds agree, but the difference is within the noise of the images"),
                          ((-0.01, 0.02),
                           (-0.005, 0.03),
                           "within the noise, of the seeds and of the images"),
                          ((-0.02, -0.01), (-0.03, -0.01), "larger than the noise"),
                          (None, (0.005, 0.03), "One seed does not show"),
                          (None, (-0.005, 0.03), "do not show which of the two is better")])
def test_the_sentence_follows_the_intervals(over_seeds: tuple[float, float] | None,
                                            images: tuple[float, float], said: str) -> None:
    found = pairs.Outcome([], [], Comparison(0.01, *images, 0.01), over_seeds)
    assert said in found.conclusion


def test_an_interval_that_just_misses_0_proves_nothing_when_chance_gives_as_much() -> None:
    assert ("do not show which of the two is better"
            in pairs.Outcome([], [], Comparison(0.01, 0.0001, 0.02, 0.08), None).conclusion)
