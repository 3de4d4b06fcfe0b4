from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.maintainer.results import pairs, studies
from tools.maintainer.results.studies import Study
from utils.evaluation.statistics import Comparison, paired_test


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


@pytest.mark.parametrize(("over_seeds", "expected"), [
    ((0.001, 0.03), "the interval excludes zero"),
    ((-0.03, -0.001), "the interval excludes zero"),
    ((-0.004, 0.005), "the interval contains zero and is narrower than one point"),
    # 1.2 points wide
    ((-0.005, 0.007), "undecided, the interval contains zero"),
    (None, "undecided, one seed"),
])
def test_the_finding_follows_the_interval_over_the_seeds(
        over_seeds: tuple[float, float] | None, expected: str) -> None:
    outcome = pairs.Outcome([], [], Comparison(0.0, -1.0, 1.0, 0.5), over_seeds)
    assert outcome.finding == expected


def test_the_claim_is_one_sentence(tmp_path: Path) -> None:
    asked = Study(tmp_path, "Title", 1, "Question?", claim="On CamVid test",
                  rows={"a": "SFNet, aligned", "b": "FPN, upsampled"}, compare=(("a", "b"),))
    outcome = pairs.Outcome([(None, None)] * 3, [], Comparison(0.0123, 0, 0, 0.5), (0.002, 0.0226))
    assert pairs.claim(asked, outcome) == (
        "On CamVid test, SFNet scores +1.23 points over FPN (3 seeds, Student's 95 % interval "
        "+0.20 to +2.26): the interval excludes zero.")
    one = outcome._replace(over_seeds=None)
    assert pairs.claim(asked, one).endswith("with one seed, which decides nothing.")


def test_correlated_images_are_exchanged_in_groups(study: Path) -> None:
    plain = pairs.outcomes(studies.read(study))["b", "a"]
    for path in study.glob("[ab]_s*/per_image.npz"):
        arrays = dict(np.load(path))
        np.savez_compressed(path, **arrays, groups=np.array(list("xxyyzz")))
    found = studies.read(study)
    grouped = pairs.outcomes(found)["b", "a"]
    one, other = found.paired("b", "a")[0]
    assert grouped.per_seed[0] == paired_test(one.matrices, other.matrices, groups="xxyyzz")
    assert grouped.pooled.difference == pytest.approx(plain.pooled.difference)
    # of three groups there are 8 exchanges, and two of them are as extreme as what was found
    assert grouped.pooled.p_value > 0.2


def test_an_interval_that_just_misses_0_proves_nothing_when_chance_gives_as_much() -> None:
    assert ("do not show which of the two is better"
            in pairs.Outcome([], [], Comparison(0.01, 0.0001, 0.02, 0.08), None).conclusion)
