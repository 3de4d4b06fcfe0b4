"""The curves of a run as lines that a page can draw."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 210, 46, 28, 10, 10         # of a chart, and of its margins
MOST_POINTS = 400
METRICS = "metrics.jsonl"
# what runs are compared by: the kind of a line of METRICS, its entry, a title, and the factor to the title's unit
COMMON = (("train", "loss", "Training loss, all terms", 1), ("train", "lr", "Learning rate", 1),
          ("validation", "mIoU", "Validation mIoU, %", 100))


@dataclass(frozen=True)
class Series:
    """A line: `points` is what an SVG polyline takes, `xs` are its places; `epochs` and `ys` are the numbers."""

    name: str
    points: str
    xs: list[float]
    epochs: list[float]
    ys: list[float]


@dataclass(frozen=True)
class Chart:
    """Lines over the epochs; each tick is (place in the picture, text)."""

    title: str
    series: list[Series]
    xticks: list[tuple[float, str]]
    yticks: list[tuple[float, str]]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the objects of a run's metrics.jsonl.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: a line is no JSON; the message names it.
    """
    path = run / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {METRICS}: give the folder of a run, such as logs/NAME")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is no JSON ({error}): remove the line") from error
    return found


def points(lines: Sequence[dict[str, Any]], kind: str, name: str, factor: float = 1) -> list[tuple[float, float]]:
    """Returns (epoch, value) of an entry where the lines of a kind have it."""
    return [(line["epoch"], factor * line[name])
            for line in lines if line.get("kind") == kind and line.get(name) is not None]


def curves(run: Path | None) -> list[Chart]:
    """Returns the charts of what a run logged in `metrics.jsonl`; none where there is no such file."""
    lines = _logged(run)
    training = [line for line in lines if line.get("kind") == "train"]
    losses = {name: [(line["epoch"], line["terms"][name]) for line in training if name in line.get("terms", {})]
              for name in dict.fromkeys(name for line in training for name in line.get("terms", {}))}
    charts = [chart("Training loss, each term", losses),
              *(chart(title, {name: points(lines, kind, name, factor)}) for kind, name, title, factor in COMMON[1:])]
    return [one for one in charts if one is not None]


def paired_curves(runs: Mapping[str, Path | None]) -> list[Chart]:
    """Returns the charts of what runs, each under a short name, logged in common."""
    logged = {name: _logged(run) for name, run in runs.items()}
    charts = [chart(title, {name: points(lines, kind, entry, factor) for name, lines in logged.items()})
              for kind, entry, title, factor in COMMON]
    return [one for one in charts if one is not None]


def _logged(run: Path | None) -> list[dict[str, Any]]:
    return read_metrics(run) if run and (run / METRICS).is_file() else []


def chart(title: str, lines: dict[str, list[tuple[float, float]]]) -> Chart | None:
    """Lays out named lines of (epoch, value) points; None when there is no point."""
    lines = {name: _thinned([(x, y) for x, y in points if math.isfinite(y)]) for name, points in lines.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    xs, ys = ([point[axis] for points in lines.values() for point in points] for axis in (0, 1))
    xticks, yticks = ticks(min(0.0, *xs), max(xs)), ticks(min(0.0, *ys), max(ys))

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - xticks[0]) / (max(*xs, xticks[1]) - xticks[0]), 1)

    def down(y: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - yticks[0]) / (yticks[-1] - yticks[0]), 1)

    series = [Series(name, " ".join(f"{across(x)},{down(y)}" for x, y in points), [across(x) for x, _ in points],
                     [x for x, _ in points], [y for _, y in points]) for name, points in lines.items()]
    return Chart(title, series, [(across(x), f"{x:g}") for x in xticks if x <= max(xs)],
                 [(down(y), f"{y:g}") for y in yticks])


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Returns round numbers from at most `low` to at least `high`, two or more of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * about >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the means of equally many neighbors, so that a long run gives no more points than a line can show."""
    size = -(-len(points) // MOST_POINTS) or 1
    groups = [points[start:start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
