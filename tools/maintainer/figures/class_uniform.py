"""Fractions of the classes in the crops, without and with class-uniform sampling.

`python -m tools.benchmark sampling` counts them.
"""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import datasets
from tools.maintainer.figures import style
from tools.maintainer.figures.style import Theme
from tools.maintainer.results.studies import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTS = "class_uniform.json"
REMEDY = (
    "make it with `python -m tools.benchmark sampling --dataset camvid --data_root data/camvid "
    "--crop_size 180x240 --class_uniform_tile 180 --draws 1100 --passes 20 --num_workers 0 --json "
    "{}`"
)


def draw(sources: Path, theme: Theme) -> Figure:
    """Draws the shares without and with class-uniform draws, the most frequent class at the top."""
    counts = read_json(sources / COUNTS, remedy=REMEDY.format(sources / COUNTS))
    names, settings = datasets.spec(counts["settings"]["dataset"]).names, counts["settings"]
    order = [i for i in np.argsort(counts["without"]["pixels"]) if counts["with"]["crops"][i]]
    kinds = {"without": ("each image once", theme.faint),
             "with": (f"{settings['class_uniform_pct']:.0%} of the crops class-uniform",
                      theme.blue)}
    figure, axes = style.new_figure(1.35 + 0.26 * len(order), ncols=2, sharey=True, gridspec_kw={
        "left": 0.105, "right": 0.985, "top": 0.93, "bottom": 0.175, "wspace": 0.08})
    height, width = settings["crop_size"]
    for axis, figure_name, letter, title in zip(
        axes, ("pixels", "crops"), "ab",
        (f"Share of the pixels, crops of {height}×{width}", "Crops that show the class"),
        strict=True,
    ):
        ends = {kind: [100 * counts[kind][figure_name][i] for i in order] for kind in kinds}
        axis.hlines(range(len(order)), *ends.values(), color=theme.line, linewidth=3, zorder=1)
        for kind, (words, color) in kinds.items():
            axis.scatter(ends[kind], range(len(order)), color=color, s=34, zorder=2, label=words)
        style.letter(axis, letter, title)
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("%, logarithmic")
    style.plain_ticks(axes[0], (0.2, 0.5, 1, 2, 5, 10, 20, 40))
    axes[0].set_yticks(range(len(order)), [names[i] for i in order])
    axes[1].set(xlabel="%", xlim=(0, 104))
    style.legend_below(axes[0])
    return figure
