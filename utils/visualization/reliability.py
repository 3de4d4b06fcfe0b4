"""The picture of a calibration: a reliability diagram, and the errors over the reviewed pixels."""
from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.files import write_bytes
from utils.packages import require_package

BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#8a8f98"


def require_matplotlib(flag: str) -> None:
    """Raises ValueError if matplotlib, with which the picture is drawn, cannot be imported."""
    require_package("matplotlib", needed_by=flag, extra="report")


def write(path: Path, calibration: Mapping[str, Any]) -> None:
    """Writes the diagram as a PNG file.

    Args:
        calibration: as `utils.evaluation.calibration.summarize` returns it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    reliability, review = figure.subplots(1, 2)
    _draw_reliability(reliability, calibration)
    _draw_review(review, calibration)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_bytes(path, buffer.getvalue())


def _draw_reliability(axes: Any, calibration: Mapping[str, Any]) -> None:
    """Draws the accuracy of each bin, as a bar and as a point over its mean confidence."""
    bins = [row for row in calibration["bins"] if row["pixels"]]
    width = 1 / len(calibration["bins"])
    axes.bar([row["from"] for row in bins], [row["accuracy"] for row in bins], width,
             align="edge", color=BLUE, edgecolor="white", linewidth=0.5, label="of each bin")
    axes.plot([row["confidence"] for row in bins], [row["accuracy"] for row in bins], "o",
              color=ORANGE, markersize=4, label="over its mean probability")
    axes.plot([0, 1], [0, 1], "--", color=GRAY, label="calibrated")
    ece = calibration["ECE"]
    title = "no pixel" if ece is None else f"ECE {100 * ece:.2f} %"
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the chosen class",
             ylabel="share of right pixels",
             title=f"{title}, temperature {calibration['temperature']:.3f}")
    axes.legend(loc="upper left", frameon=False)


def _draw_review(axes: Any, calibration: Mapping[str, Any]) -> None:
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="pixels looked at, least confident first, %",
             ylabel="errors among them, %", title="no error")
    curve, review = calibration["curve"], calibration["review"]
    if curve is None:
        return
    steps = [100 * i / (len(curve) - 1) for i in range(len(curve))]
    axes.plot(steps, [100 * share for share in curve], color=BLUE)
    axes.plot([0, 100], [0, 100], "--", color=GRAY)
    axes.plot([100 * review, 100 * review, 0], [0, 90, 90], ":", color=ORANGE)
    axes.set_title(f"90 % of the errors are in {100 * review:.1f} % of the pixels")
