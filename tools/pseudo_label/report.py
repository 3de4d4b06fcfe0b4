"""What was kept of the predictions: a table, JSON, and a picture of the confidence."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.pseudo_label.selection import CODES, probability_of
from utils.files import write_bytes
from utils.visualization.reliability import BLUE, ORANGE

# of equal width in [0, 1]
BINS = 50


def summarize(names: Sequence[str], histogram: np.ndarray, kept: np.ndarray,
              thresholds: Sequence[float]) -> dict[str, Any]:
    """Returns the pixels and the kept share of each class, in JSON types.

    Args:
        names: of the K classes.
        histogram: (K, CODES) predicted pixels by class and code.
        kept: (K,) pixels that became labels.
        thresholds: K probabilities.
    """
    bins = np.minimum(probability_of(np.arange(CODES) + 0.5) * BINS, BINS - 1).astype(int)
    # (CODES, BINS): which codes are in a bin
    in_bin = bins[:, None] == np.arange(BINS)
    pixels = histogram.sum(1)
    rows = zip(names, pixels.tolist(), kept.tolist(), thresholds, (histogram @ in_bin).tolist(),
               strict=True)
    classes = {name: {"pixels": predicted, "share": _share(predicted, pixels.sum()),
                      "threshold": float(threshold), "kept": remaining,
                      "kept_share": _share(remaining, predicted),
                      "most_probable": _largest(histogram[train_id]), "histogram": counts}
               for train_id, (name, predicted, remaining, threshold, counts) in enumerate(rows)}
    return {"pixels": int(pixels.sum()), "kept": int(kept.sum()),
            "kept_share": _share(kept.sum(), pixels.sum()), "classes": classes}


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _largest(histogram: np.ndarray) -> float | None:
    """Returns the probability of the highest code that has a pixel, rounded down."""
    occupied = np.flatnonzero(histogram)
    return float(probability_of(occupied[-1])) if len(occupied) else None


def format_table(summary: Mapping[str, Any]) -> str:
    """Formats the classes, one a line: share of the predicted pixels, threshold, kept share."""
    classes = summary["classes"]
    width = max(map(len, (*classes, "all classes")))
    lines = [f"{'class':{width}}  {'predicted':>11}  {'threshold':>9}  {'kept':>9}"]
    for name, row in classes.items():
        threshold = f"{row['threshold']:.4f}" if row["pixels"] else "-"
        lines.append(f"{name:{width}}  {_percent(row['share']):>11}  {threshold:>9}  "
                     f"{_percent(row['kept_share']):>9}")
    lines.append(f"{'all classes':{width}}  {'':>11}  {'':>9}  "
                 f"{_percent(summary['kept_share']):>9}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.2f} %" if share == 0 or share >= 0.0001 else "< 0.01 %"


def emptied_classes(summary: Mapping[str, Any]) -> list[str]:
    """Returns a text about each class that is predicted but has no kept pixel."""
    return [f"{name} ({_percent(row['share'])} of the predicted pixels, the most probable "
            f"{row['most_probable']:.3f})"
            for name, row in summary["classes"].items() if row["pixels"] and not row["kept"]]


def write_picture(path: Path, summary: Mapping[str, Any]) -> None:
    """Draws the probabilities of each class's pixels with its threshold, and its kept share."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, rows = list(summary["classes"]), list(summary["classes"].values())
    counts = np.array([row["histogram"] for row in rows], float)
    fractions = counts / np.maximum(counts.max(1, keepdims=True), 1)
    figure = Figure(figsize=(10, 1.4 + 0.28 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    # the square root shows the thin lower end of a class beside its peak
    left.imshow(np.sqrt(fractions), cmap="Blues", aspect="auto",
                extent=(0, 1, len(names) - 0.5, -0.5))
    for position, row in enumerate(rows):
        if row["pixels"]:
            left.plot(2 * [row["threshold"]], [position - 0.5, position + 0.5], color=ORANGE)
    left.set(yticks=range(len(names)), yticklabels=names, xlabel="probability of the class",
             title="pixels of each class, and its threshold")
    right.barh(range(len(names)), [100 * (row["kept_share"] or 0) for row in rows], color=BLUE)
    right.set(xlim=(0, 100), xlabel="kept, %", title="share that became labels")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_bytes(path, buffer.getvalue())
