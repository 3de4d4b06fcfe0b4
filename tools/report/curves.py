"""Curves of what runs logged, in one picture: `python -m tools.report --curves logs/A logs/B --out curves.png`."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.report.charts import COMMON, points, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")


def add_flags(kinds: argparse._ActionsContainer) -> None:
    kinds.add_argument("--curves", nargs="+", type=Path, metavar="RUN",
                       help="draw the losses, learning rates and validations of runs into one picture, curves.png "
                            "(--out takes .png, .svg and .pdf)")


def run(args: argparse.Namespace) -> str:
    """Draws what `--curves` names, and says where. Raises ValueError, OSError or ImportError."""
    out = args.out or Path("curves.png")
    draw_curves(args.curves, out)
    return f"curves of {len(args.curves)} run(s) in {out}"


def draw_curves(runs: Sequence[Path], out: Path) -> None:
    """Draws the curves of several runs over the epochs into one picture; a panel that no run has is left out."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    logged = {run: read_metrics(run) for run in runs}
    panels = [(title, kind, drawn) for kind, name, title, factor in COMMON
              if any((drawn := {run: points(lines, kind, name, factor) for run, lines in logged.items()}).values())]
    if not panels:
        raise ValueError(f"{', '.join(map(str, runs))}: nothing is logged yet, so there is nothing to draw")
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False, dpi=160)
    for axis, (title, kind, drawn) in zip(axes[0], panels, strict=True):
        for i, (run, found) in enumerate(drawn.items()):
            epochs, values = zip(*found, strict=True) if found else ((), ())
            axis.plot(epochs, values, color=COLORS[i % len(COLORS)], linewidth=1.4, label=run.name,
                      marker="o" if kind == "validation" else None, markersize=3.5)
        dress(axis, title)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    pyplot.close(figure)


def dress(axis: Axes, title: str) -> None:
    """Gives a panel over the epochs its title, grid and small print."""
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel("epoch", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
