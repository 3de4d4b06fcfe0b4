"""Accuracy over speed on CamVid, measured here, and over cost on Cityscapes, as published."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from tools.maintainer.figures import style
from tools.maintainer.figures.sources import studies_with_runs
from tools.maintainer.figures.style import Theme, decoder
from tools.maintainer.results.studies import Run, read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEEDS, PUBLISHED = "speed_*.json", "published.yaml"
REMEDY = (
    "measure with `python -m tools.benchmark infer --snapshot {} --settings bf16 --size 360x480 "
    "--rounds 200 --no_memory --json {}/speed_NAME.json`"
)
# of `tools.benchmark infer`
SETTING = "bf16"
# the first that has runs: one backbone and one budget
STUDIES = ("camvid_pair", "camvid_recipe")
# where a point's name stands: offset in points, and which of its ends is there
BESIDE = {
    "right": (6, 0, "left", "center"), "left": (-6, 0, "right", "center"),
    "above": (0, 5, "center", "bottom"), "upper left": (0, 5, "right", "bottom"),
    "below right": (4, -11, "left", "top"), "lower left": (0, -5, "right", "top"),
    "lower right": (0, -5, "left", "top"),
}


def draw(sources: Path, theme: Theme) -> Figure:
    """Draws what was measured, and what was published over cost and over speed."""
    published = read_published(sources / PUBLISHED)
    runs = studies_with_runs(sources, STUDIES)[0].runs
    speeds = read_speeds(sources, sorted({run.args["arch"] for run in runs}))
    figure = style.new_page(7.1)
    upper = figure.add_gridspec(1, 2, left=0.06, right=0.985, top=0.955, bottom=0.575, wspace=0.17,
                                width_ratios=(2, 3))
    lower = figure.add_gridspec(1, len(published["speed"]), left=0.06, right=0.985, top=0.41,
                                bottom=0.07, wspace=0.06)
    draw_measured(figure.add_subplot(upper[0]), runs, speeds, theme)
    draw_costs(figure.add_subplot(upper[1]), published["cost"], theme)
    first: Axes | None = None
    for i, panel in enumerate(published["speed"]):
        axis = figure.add_subplot(lower[i], sharey=first)
        draw_speeds(axis, panel, theme)
        axis.tick_params(labelleft=first is None)
        first = first or axis
    assert first is not None
    first.set_ylabel("test mIoU, %")
    figure.text(
        0.06, 0.455,
        "(c) Published: Cityscapes test, a panel for each device, whose speeds do not compare",
        fontsize=style.TITLE, weight="bold",
    )
    return figure


def read_published(path: Path) -> dict[str, Any]:
    """Raises FileNotFoundError, or ValueError where the table is damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: restore it from git")
    try:
        published = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        rows = [*published["cost"],
                *(point for panel in published["speed"] for point in panel["points"])]
        for row in rows:
            if not {"family", "name", "miou", "source"} <= set(row):
                raise ValueError(f"{row} lacks an entry")
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it from git") from error
    return published


def read_speeds(sources: Path, networks: list[str]) -> dict[str, float]:
    """Returns the images per second of each network.

    Raises:
        ValueError: a network was not measured.
    """
    rows = [row for path in sorted(sources.glob(SPEEDS))
            for row in read_json(path, remedy="restore it from git")["rows"]]
    speeds = {row["network"]: float(row["images_per_second"])
              for row in rows if row["setting"] == SETTING}
    missing = [name for name in networks if name not in speeds]
    if missing:
        raise ValueError(f"{sources / SPEEDS} tell no speed of {', '.join(missing)}: "
                         + REMEDY.format(" ".join(f"logs/{name}_s0/last.pth" for name in networks),
                                         sources))
    return speeds


def draw_measured(axis: Axes, runs: Sequence[Run], speeds: dict[str, float], theme: Theme) -> None:
    """A point for each network: the mean of its seeds, which are small points of their own."""
    scores = defaultdict(list)
    for run in runs:
        scores[run.args["arch"]].append(100 * run.scores["mIoU"])
    for arch, values in scores.items():
        x, color = speeds[arch], decoder(arch).color(theme)
        axis.plot([x, x], [min(values), max(values)], color=color, linewidth=1, alpha=0.6)
        axis.scatter([x] * len(values), values, s=9, color=color, alpha=0.6, linewidths=0)
        axis.scatter(x, np.mean(values), s=58, color=color, edgecolors=theme.page, linewidths=0.8,
                     zorder=3, label=decoder(arch).title)
    every = [value for values in scores.values() for value in values]
    # a difference within the noise does not fill the panel
    room = max(0.75 * (max(every) - min(every)), 3.0)
    limits = (np.mean([max(every), min(every)]) - room, np.mean([max(every), min(every)]) + room)
    style.letter(axis, "a", "Measured here: CamVid test")
    axis.set(xlabel="images/s of 360×480, 2 CPU cores, bf16", ylabel="mIoU, %", ylim=limits,
             xlim=(0, 1.2 * max(speeds[arch] for arch in scores)))
    backbone = runs[0].args["arch"].rsplit("_", 1)[1]
    axis.text(0.04, 0.96,
              f"{style.BACKBONES.get(backbone, backbone)}, {runs[0].args['max_epoch']} epochs",
              va="top", transform=axis.transAxes, fontsize=style.SMALL, color=theme.faint)
    style.legend_below(axis)


def draw_costs(axis: Axes, rows: list[dict[str, Any]], theme: Theme) -> None:
    """Draws a full point for ImageNet weights, a hollow one for none, and a line between them."""
    from matplotlib.lines import Line2D

    networks: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        networks[row["family"], row["name"]].append(row)
    for both in networks.values():
        axis.plot([row["gmacs"] for row in both], [row["miou"] for row in both], color=theme.faint,
                  linewidth=0.7)
        for row in both:
            mark_point(axis, row, "gmacs", theme, full=row["imagenet"])
        name_point(axis, both[0], "gmacs", theme)
    sfnets = [row for row in rows if row["family"] == "SFNet"]
    axis.plot([row["gmacs"] for row in sfnets], [row["miou"] for row in sfnets], color=theme.blue,
              linewidth=1.2, alpha=0.7)
    style.letter(axis, "b", "Published: Cityscapes val")
    axis.set_xscale("log")
    axis.set(xlabel="multiply-accumulates at 1024×2048, G", ylabel="val mIoU, %", xlim=(14, 1250),
             ylim=(71.2, 82.2))
    style.plain_ticks(axis, (20, 50, 100, 200, 500, 1000))
    entries = [(Line2D([], [], linestyle="", marker="o", markersize=5, color=theme.faint,
                       markerfacecolor=face),
                words)
               for face, words in ((theme.faint, "ImageNet weights"), (theme.page, "none"))]
    style.legend_below(axis, entries)


def draw_speeds(axis: Axes, panel: dict[str, Any], theme: Theme) -> None:
    for row in panel["points"]:
        mark_point(axis, row, "fps", theme)
        name_point(axis, row, "fps", theme)
    axis.set_title(panel["device"], fontsize=style.TEXT, weight="normal", loc="center", pad=4)
    axis.set(xlim=(8, 152), ylim=(73.8, 81.4), xlabel="images/s")


def mark_point(axis: Axes, row: dict[str, Any], x: str, theme: Theme, full: bool = True) -> None:
    is_sfnet, color = is_ours(row), color_of(row, theme)
    axis.scatter(row[x], row["miou"], s=90 if is_sfnet else 26, marker="*" if is_sfnet else "o",
                 linewidths=1, zorder=3, color=color if full else theme.page, edgecolors=color)


def name_point(axis: Axes, row: dict[str, Any], x: str, theme: Theme) -> None:
    right, up, across, along = BESIDE[row.get("at", "right")]
    axis.annotate(
        f"{row['family']} {row.get('label', row['name'])}", (row[x], row["miou"]), (right, up),
        textcoords="offset points", ha=across, va=along, fontsize=style.SMALL - 0.5,
        weight="bold" if is_ours(row) else "normal", color=color_of(row, theme), zorder=2.5,
        bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 0},
    )


def is_ours(row: dict[str, Any]) -> bool:
    """Whether a published row is of the networks of this project."""
    return str(row["family"]).startswith("SFNet")


def color_of(row: dict[str, Any], theme: Theme) -> str:
    return {"SFNet": theme.blue, "SFNet-Lite": theme.green}.get(row["family"], theme.faint)
