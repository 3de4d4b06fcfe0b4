"""What the studies' runs logged: the loss, and the validations where there were any."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.maintainer.figures import style
from tools.maintainer.figures.sources import studies_with_runs
from tools.maintainer.figures.style import Theme, decoder
from tools.maintainer.results.studies import Run, Study
from utils.report.charts import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STUDIES = ("camvid_pair", "camvid_resnet18", "camvid_train_val", "camvid_best", "camvid_recipe")
# kind of a logged line, its entry or term, title, and the factor to the title's unit. Networks with
# more auxiliary maps have more terms, so that only that of the main map can be compared.
PANELS = (("train", "main", "Training loss of the main map", 1),
          ("validation", "mIoU", "Validation mIoU, %", 100))
# of labels with one decoder
STYLES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
# inches
ROW = 2.65


def draw(sources: Path, look: Theme) -> Figure:
    """Draws a row for each study that keeps runs: its seeds as thin lines, their mean as a thick
    one.
    """
    found = [
        trained
        for study in studies_with_runs(sources, STUDIES)
        if (trained := trainings(study)).runs
    ]
    height = ROW * len(found)
    figure = style.new_page(height)
    for place, (study, letter) in enumerate(zip(found, "abcdefgh", strict=False)):
        panels = [panel for panel in PANELS if any(logged(run, *panel[:2]) for run in study.runs)]
        bottom = height - ROW * (place + 1)
        grid = figure.add_gridspec(
            1, len(panels), left=0.055, right=0.99, bottom=(bottom + 0.42) / height,
            top=(bottom + ROW - 0.78) / height, wspace=0.23,
        )
        for column, (kind, name, title, factor) in enumerate(panels):
            axis = figure.add_subplot(grid[column])
            draw_panel(axis, study, kind, name, factor, look)
            axis.set_title(title, fontsize=style.TEXT, weight="normal", pad=4)
            if not column:
                title_row(axis, letter, study, look)
    return figure


def trainings(study: Study) -> Study:
    """Returns the study with each training of its own once: no borrowed run, no checkpoint scored
    once more.
    """
    return replace(study, runs=study.trainings)


def logged(run: Run, kind: str, name: str, factor: float = 1) -> list[tuple[float, float]]:
    """Returns (epoch, value) of an entry, or of a term of the loss, where the lines of a kind have
    it.
    """
    return points([{**line, **line.get("terms", {})} for line in run.metrics], kind, name, factor)


def draw_panel(axis: Axes, study: Study, kind: str, name: str, factor: float, look: Theme) -> None:
    """Draws what the runs of a study logged under a name."""
    for label, runs in study.labels.items():
        settings = line_of(study, label, look)
        lines = [found for run in runs if (found := logged(run, kind, name, factor))]
        marker = "o" if kind == "validation" else None
        for line in lines if len(lines) > 1 else ():
            axis.plot(*zip(*line, strict=True), **settings, linewidth=0.6, alpha=0.55)
        if lines:
            axis.plot(*mean(lines), **settings, linewidth=1.7, marker=marker, markersize=3)
    if name != "main":
        axis.set_ylim(0, 1.05 * axis.dataLim.ymax)
    axis.set(
        xlabel="epoch",
        xlim=(0, 1.015 * max(line["epoch"] for run in study.runs for line in run.metrics)),
    )


def mean(lines: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Returns epochs and means of (epoch, value) lines, as far as the shortest goes."""
    places = min((tuple(x for x, _ in line) for line in lines), key=len)
    values = [np.interp(places, [x for x, _ in line], [y for _, y in line]) for line in lines]
    return [*places], np.mean(values, axis=0).tolist()


def line_of(study: Study, label: str, look: Theme) -> dict[str, Any]:
    """Returns color and dashes of a label: that of its decoder, whose labels the dashes tell
    apart.
    """
    kinds = [decoder(arch_of(runs)) for runs in study.labels.values()]
    place = [*study.labels].index(label)
    return {
        "color": kinds[place].color(look),
        "linestyle": STYLES[kinds[:place].count(kinds[place]) % len(STYLES)],
    }


def arch_of(runs: Sequence[Run]) -> str:
    return str(runs[0].args["arch"])


def title_row(axis: Axes, letter: str, study: Study, look: Theme) -> None:
    """The study's title over its row, and which line is which."""
    from matplotlib.lines import Line2D

    axis.annotate(
        f"({letter}) {study.title}", (0, 1), (0, 31), xycoords="axes fraction",
        textcoords="offset points", fontsize=style.TITLE, weight="bold", annotation_clip=False,
    )
    entries = [
        (
            Line2D([], [], **line_of(study, label, look), linewidth=1.7),
            f"{label} ({len(runs)} seed{'s' * (len(runs) > 1)})",
        )
        for label, runs in study.labels.items()
    ]
    axis.figure.legend(
        *zip(*entries, strict=True), loc="lower left", bbox_to_anchor=(-0.012, 1.085),
        bbox_transform=axis.transAxes, ncols=len(entries), columnspacing=1.4, handlelength=1.8,
        handletextpad=0.5,
    )
