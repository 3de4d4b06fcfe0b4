from __future__ import annotations

import json
from pathlib import Path

import pytest

from utils.report import charts


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1.58, [0, 0.5, 1, 1.5, 2]),
    (0, 40, [0, 10, 20, 30, 40]),
    (0, 0.001, [0, 0.00025, 0.0005, 0.00075, 0.001]),
    (5, 5, [4, 6]),
    (0, 0, [0, 0.25]),
    (-3, 3, [-4, -2, 0, 2, 4]),
])
def test_ticks_are_round_and_enclose_the_values(
        low: float, high: float, expected: list[float]) -> None:
    ticks = charts.ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and len(ticks) >= 2
    assert ticks == pytest.approx(expected)


def test_charts_show_each_term_and_every_validation(tmp_path: Path) -> None:
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "terms": {"main": 3 / i, "aux0": 1.0},
              "lr": 0.1 / i} for i in range(1, 2001)]
    lines.append({"kind": "validation", "step": 9, "epoch": 1.0, "mIoU": 0.25})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loss, rate, validation = charts.training_charts(tmp_path)
    assert [line.name for line in loss.series] == ["main", "aux0"]
    # 2000 points become means of five neighbors
    assert len(rate.series[0].ys) == charts.MAX_POINTS
    assert rate.series[0].ys[0] == pytest.approx(sum(0.1 / i for i in range(1, 6)) / 5)
    assert validation.series[0].ys == [25.0]
    assert charts.training_charts(tmp_path / "no run") == charts.training_charts(None) == []
    # no total loss was logged
    runs = {"A": tmp_path, "B": tmp_path, "C": None}
    rate, validation = charts.comparison_charts(runs)
    assert [line.name for line in (*rate.series, *validation.series)] == ["A", "B"] * 2
    assert validation.series[1].ys == [25.0]
