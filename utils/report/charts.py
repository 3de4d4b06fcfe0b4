"""Line charts of what a run logged, laid out for SVG."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# of a chart and its margins, in units of the SVG
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 210, 46, 28, 10, 10
MAX_POINTS = 400
METRICS = "metrics.jsonl"
# what runs are compared by: kind of a line of METRICS, its entry, title, factor to the title's unit
COMPARED = (
    ("train", "loss", "Training loss, all terms", 1),
    ("train", "lr", "Learning rate", 1),
    ("validation", "mIoU", "Validation mIoU, %", 100),
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        points: coordinates as an SVG polyline takes them.
        xs: horizontal coordinates in the SVG.
        epochs, ys: the numbers that the line shows.
    """

    name: str
    points: str
    xs: list[float]
    epochs: list[float]
    ys: list[float]


@dataclass(frozen=True)
class Chart:
    """Lines over the epochs.

    Attributes:
        xticks, yticks: (coordinate in the SVG, text) pairs.
    """

    title: str
    series: list[Series]
    xticks: list[tuple[float, str]]
    yticks: list[tuple[float, str]]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the objects of a run's metrics.jsonl.

    Raises:
        FileNotFoundError: the folder holds no such file.
        ValueError: a line is not JSON; the message gives its number.
    """
    path = run / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {METRICS}: give the folder of a run, such as "
                                "logs/NAME")
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON ({error}): remove the line"
                             ) from error
    return lines


def points(lines: Sequence[dict[str, Any]], kind: str, name: str,
           factor: float = 1) -> list[tuple[float, float]]:
    """Returns (epoch, factor * value) of an entry, for the lines of a kind that have it."""
    return [(line["epoch"], factor * line[name]) for line in lines
            if line.get("kind") == kind and line.get(name) is not None]


def training_charts(run: Path | None) -> list[Chart]:
    """Returns the charts of a run: loss terms, learning rate and validation.

    Charts without points are left out; without a run or its `metrics.jsonl` there are none.
    """
    lines = _read_if_present(run)
    charts = [chart("Training loss, each term", _loss_terms(lines))]
    for kind, entry, title, factor in COMPARED[1:]:
        charts.append(chart(title, {entry: points(lines, kind, entry, factor)}))
    return [line_chart for line_chart in charts if line_chart is not None]


def comparison_charts(runs: Mapping[str, Path | None]) -> list[Chart]:
    """Returns the charts that compare runs, given by short names; those of `COMPARED`."""
    logged = {name: _read_if_present(run) for name, run in runs.items()}
    charts = []
    for kind, entry, title, factor in COMPARED:
        series = {name: points(lines, kind, entry, factor) for name, lines in logged.items()}
        charts.append(chart(title, series))
    return [line_chart for line_chart in charts if line_chart is not None]


def _read_if_present(run: Path | None) -> list[dict[str, Any]]:
    """Returns the objects of a run's metrics.jsonl; empty without a run or the file."""
    return read_metrics(run) if run and (run / METRICS).is_file() else []


def _loss_terms(lines: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Returns (epoch, value) of each term of the loss."""
    terms: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        if line.get("kind") != "train":
            continue
        for name, value in line.get("terms", {}).items():
            terms.setdefault(name, []).append((line["epoch"], value))
    return terms


def chart(title: str, lines: Mapping[str, Points]) -> Chart | None:
    """Lays out named lines of (epoch, value) points; returns None if there is no point."""
    thinned = {name: _thin([(x, y) for x, y in line if math.isfinite(y)])
               for name, line in lines.items()}
    thinned = {name: line for name, line in thinned.items() if line}
    if not thinned:
        return None
    xs = [x for line in thinned.values() for x, _ in line]
    ys = [y for line in thinned.values() for _, y in line]
    xticks, yticks = ticks(min(0.0, *xs), max(xs)), ticks(min(0.0, *ys), max(ys))
    right = max(*xs, xticks[1])

    def to_svg_x(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - xticks[0]) / (right - xticks[0]), 1)

    def to_svg_y(y: float) -> float:
        fraction = (y - yticks[0]) / (yticks[-1] - yticks[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fraction, 1)

    series = []
    for name, line in thinned.items():
        polyline = " ".join(f"{to_svg_x(x)},{to_svg_y(y)}" for x, y in line)
        epochs, values = [x for x, _ in line], [y for _, y in line]
        series.append(Series(name, polyline, [to_svg_x(x) for x in epochs], epochs, values))
    return Chart(title, series, [(to_svg_x(x), f"{x:g}") for x in xticks if x <= max(xs)],
                 [(to_svg_y(y), f"{y:g}") for y in yticks])


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Returns round numbers, two or more, from at most `low` to at least `high`.

    Args:
        about: approximate number of intervals.
    """
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10)
                if factor * power * about >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _thin(line: Points) -> Points:
    """Averages neighboring points in groups of equal size, down to at most `MAX_POINTS`."""
    size = max(1, math.ceil(len(line) / MAX_POINTS))
    groups = [line[start:start + size] for start in range(0, len(line), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
            for group in groups]
