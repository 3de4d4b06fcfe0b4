"""Curves of several runs in one picture: `python -m tools.report --curves logs/A logs/B`."""
from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.files import make_folder
from utils.packages import require_package
from utils.report.charts import COMPARED, Points, points, read_metrics

# suffixes of the picture
SUFFIXES = (".png", ".svg", ".pdf")
COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")


class Panel(NamedTuple):
    """One panel of the picture: (epoch, value) points of each run; `kind` is that of the lines."""

    title: str
    kind: str
    curves: Mapping[Path, Points]


def add_flags(kinds: argparse._ActionsContainer) -> None:
    """Declares the flag that asks for this report."""
    kinds.add_argument("--curves", nargs="+", type=Path, metavar="RUN",
                       help="draw losses, learning rates and validations of runs into one picture, "
                            f"curves.png (--out takes {', '.join(SUFFIXES)})")


def run(args: argparse.Namespace) -> str:
    """Draws the runs of `--curves`; returns a message.

    Raises:
        ValueError, OSError: metrics cannot be read, the picture cannot be written or has another
            suffix, or matplotlib cannot be imported.
    """
    out = args.out or Path("curves.png")
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out {out}: the name of a picture of curves ends in "
                         f"{', '.join(SUFFIXES)}")
    draw_curves(args.curves, out)
    return f"curves of {len(args.curves)} run(s) in {out}"


def draw_curves(runs: Sequence[Path], out: Path) -> None:
    """Draws the curves of several runs over the epochs; panels without points are left out."""
    matplotlib = require_package("matplotlib", needed_by="--curves", extra="report")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = read_panels(runs)
    if not panels:
        raise ValueError(f"{', '.join(map(str, runs))}: nothing is logged yet, so there is nothing "
                         "to draw")
    size = 4.6 * len(panels), 3.4
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False, dpi=160)
    for axis, panel in zip(axes[0], panels, strict=True):
        for i, (name, curve) in enumerate(panel.curves.items()):
            axis.plot([epoch for epoch, _ in curve], [value for _, value in curve],
                      color=COLORS[i % len(COLORS)], linewidth=1.4, label=name.name,
                      marker="o" if panel.kind == "validation" else None, markersize=3.5)
        style_axis(axis, panel.title)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    make_folder(out.parent, "--out")
    figure.savefig(out)
    pyplot.close(figure)


def read_panels(runs: Sequence[Path]) -> list[Panel]:
    """Returns the panels that have a point; raises as `read_metrics` does."""
    logged = {run: read_metrics(run) for run in runs}
    panels = []
    for kind, entry, title, factor in COMPARED:
        curves = {run: points(lines, kind, entry, factor) for run, lines in logged.items()}
        if any(curves.values()):
            panels.append(Panel(title, kind, curves))
    return panels


def style_axis(axis: Any, title: str) -> None:
    """Sets title, labels and grid of a matplotlib axis over the epochs."""
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel("epoch", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
