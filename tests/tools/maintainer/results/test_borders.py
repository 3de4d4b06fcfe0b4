from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.maintainer.results.conftest import edit, written
from tools.maintainer.results import borders, pairs, studies
from utils.evaluation.statistics import t_interval


@pytest.fixture
def scored(study: Path) -> Path:
    """The study with scores near borders: `b` gains 4 and 6 points there, and 1 in the interior."""
    near = {"a_s0": 0.40, "a_s1": 0.42, "b_s0": 0.44, "b_s1": 0.48, "b_s2": 0.5}
    for name, score in near.items():
        interior = 0.71 if name[0] == "b" else 0.70
        trimap = {
            "width": 3, "share": 0.2, "border": {"mIoU": score}, "interior": {"mIoU": interior},
            "thin": {"classes": ["dark"], "mIoU": 0.3}, "large": {"classes": [], "mIoU": None}}
        edit(study / name / "scores.json", trimap=trimap,
             boundary_F={"0.01": {"mean": 0.5, "mean_present": score / 2}})
    return study


def test_rows_are_compared_seed_by_seed_near_borders_and_away_from_them(scored: Path) -> None:
    found = studies.read(scored)
    text = borders.describe(found, pairs.outcomes(found))
    low, high = (f"{100 * bound:+.2f}" for bound in t_interval([0.04, 0.06]))
    assert "20.00 % of the pixels are within 3 of a class border." in text
    assert (f"| mIoU near borders | 41.00 ± 1.41 | 47.33 ± 3.06 | +5.00 ({low} to {high}) |"
            in text)
    assert "| mIoU in the interior | 70.00 ± 0.00 | 71.00 ± 0.00 | +1.00 (+1.00 to +1.00) |" in text
    assert "| mIoU of thin classes (dark) | 30.00 ± 0.00 | 30.00 ± 0.00 | +0.00 " in text
    assert "large classes" not in text
    assert "| boundary F within 0.01 of the diagonal | 20.50 ± 0.71 |" in text
    # 4 - 1 and 6 - 1
    low, high = (f"{100 * bound:+.2f}" for bound in t_interval([0.03, 0.05]))
    assert (f"| gain at borders minus gain in the interior | - | - | +4.00 ({low} to {high}) |"
            in text)
    assert "**Near class borders.**" in written(scored)


def test_runs_without_these_scores_are_left_out(scored: Path) -> None:
    path = scored / "b_s1/scores.json"
    content = json.loads(path.read_text())
    del content["trimap"]
    path.write_text(json.dumps(content))
    found = studies.read(scored)
    # of the two pairs of seeds one is left: no interval
    assert ("| mIoU near borders | 41.00 ± 1.41 | 47.00 ± 4.24 | +4.00 (1 of 2 seeds) |"
            in borders.describe(found, pairs.outcomes(found)))


def test_rows_that_are_not_compared_have_no_differences(scored: Path) -> None:
    text = borders.describe(studies.read(scored), {})
    assert "| mIoU near borders | 41.00 ± 1.41 | 47.33 ± 3.06 |\n" in text
    assert "gain" not in text and "Differences" not in text


def test_a_study_without_these_scores_has_no_table(study: Path) -> None:
    found = studies.read(study)
    assert borders.describe(found, pairs.outcomes(found)) == ""
