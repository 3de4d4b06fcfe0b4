"""The numbers of a report's page, as people read them: headlines, tables, the confusion matrix and the facts."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils.evaluation.statistics import Comparison
from utils.report import results
from utils.report.results import Results

SCORES = (("mIoU", "Mean IoU"), ("pixel_accuracy", "Pixel accuracy"), ("mean_accuracy", "Mean accuracy"),
          ("fwIoU", "Frequency-weighted IoU"))


def lede(found: Results, draws: dict[str, np.ndarray]) -> str:
    bounds = results.interval(draws["mIoU"])
    between = f" (95 % interval {percent(bounds[0], 1)} to {percent(bounds[1], 1)})" if bounds else ""
    per_class = {name: value for name, value in found.scores["per_class_IoU"].items() if value is not None}
    extremes = ""
    if len(per_class) > 1:
        best, worst = max(per_class, key=per_class.__getitem__), min(per_class, key=per_class.__getitem__)
        extremes = f" It does best on {best} ({percent(per_class[best], 1)} %) and worst on {worst} " \
                   f"({percent(per_class[worst], 1)} %)."
    return (f"{percent(found.scores['mIoU'], 1)} % mean IoU{between} over {len(per_class)} classes on "
            f"{_images(len(found.names))}.{extremes}")


def verdict(test: Comparison, found: Results, data: Any) -> str:
    points = f"{percent(abs(test.difference), 2)} points of mean IoU"
    seen = f"{'A' if test.difference > 0 else 'B'} is ahead by {points}" if test.difference else "A and B are level"
    sure = ("more than the choice of images explains" if test.p_value < 0.05 else
            "no more than the choice of images can explain")
    return (f"{seen} on {_images(len(found.names))} of {data.spec.title}, {sure} (95 % interval of A − B "
            f"{signed(test.low, 2)} to {signed(test.high, 2)}, permutation test p = {test.p_value:.2g}).")


def figure(title: str, value: float | None, bounds: tuple[float, float] | None, note: str = "") -> dict[str, Any]:
    low, high = bounds if bounds and value is not None else (None, None)
    return {"title": title, "value": percent(value, 2), "unit": "" if value is None else "%", "note": note,
            "meter": "range", "low": None if low is None else percent(low, 1), "high": percent(high, 1),
            **_places(value or 0, low or 0, high or 0)}


def difference_figure(test: Comparison) -> dict[str, Any]:
    reach = 2.4 * max(0.001, abs(test.low), abs(test.high))
    return {"title": "A − B", "value": signed(test.difference, 2), "unit": "points",
            "meter": f"diverging {'plus' if test.difference >= 0 else 'minus'}",
            "note": f"p = {test.p_value:.2g} (permutation)", "low": signed(test.low, 2), "high": signed(test.high, 2),
            **_places(*(value / reach for value in (test.difference, test.low, test.high)))}


def headlines(found: Results, draws: dict[str, np.ndarray], data: Any) -> list[dict[str, Any]]:
    """Returns the scores with their intervals; that of the categories where the dataset has them."""
    shown = [figure(title, found.scores.get(name), results.interval(draws[name])) for name, title in SCORES]
    value, groups = found.scores.get("mean_category_IoU"), [label.category for label in data.spec.classes]
    if value is not None:
        by_group = results.resampled(results.grouped(found.matrices, groups))["mIoU"] if all(groups) else np.array([])
        shown.append(figure("Mean category IoU", value, results.interval(by_group)))
    return shown


def class_rows(total: np.ndarray, draws: np.ndarray, classes: Sequence[str],
                colors: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes, best first and absent ones last."""
    ious, hits, truth, predicted = results.iou(total), total.diagonal(), total.sum(1), total.sum(0)
    rows = []
    for index in np.argsort(-ious, kind="stable"):          # NaN sorts last
        row: dict[str, Any] = {"name": classes[index], "color": colors[index], "iou": None}
        bounds = results.interval(draws[:, index])
        if bounds:
            row |= {"iou": percent(ious[index], 1), "low": percent(bounds[0], 1), "high": percent(bounds[1], 1),
                    "recall": _share(hits[index], truth[index]), "precision": _share(hits[index], predicted[index]),
                    "share": _share(truth[index], total.sum()), **_places(ious[index], *bounds)}
        rows.append(row)
    return rows


def difference_rows(totals: Sequence[np.ndarray], draws: Sequence[np.ndarray], classes: Sequence[str],
                     colors: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes, those on which A leads most first and those without an IoU last."""
    ours, theirs = (results.iou(total) for total in totals)
    between = [results.interval(draws[0][:, index] - draws[1][:, index]) for index in range(len(classes))]
    reach = 2.1 * max([0.005, *(abs(bound) for bounds in between if bounds for bound in bounds)])
    rows = []
    for index in np.argsort(theirs - ours, kind="stable"):
        row: dict[str, Any] = {"name": classes[index], "color": colors[index], "difference": None,
                               "a": percent(ours[index], 1), "b": percent(theirs[index], 1)}
        bounds = between[index]
        if bounds and not np.isnan(ours[index] - theirs[index]):
            difference = ours[index] - theirs[index]
            row |= {"difference": signed(difference), "low": signed(bounds[0]), "high": signed(bounds[1]),
                    **_places(difference / reach, bounds[0] / reach, bounds[1] / reach)}
        rows.append(row)
    return rows


def matrix(total: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of the heat map of one model: the share of each true class, the stronger the more."""
    rows = []
    for truth, (counts, shares) in enumerate(zip(total.tolist(), _by_row(total).tolist(), strict=True)):
        cells = []
        for predicted, (count, share) in enumerate(zip(counts, shares, strict=True)):
            strength = round(100 * share ** 0.5)
            kinds = ["d"] * (truth == predicted) + ["on"] * (strength > 62)
            cells.append(_cell(kinds, [count], strength, f"{100 * share:.0f}" if share >= 0.005 else ""))
        rows.append({"name": classes[truth], "cells": cells})
    return rows


def difference_matrix(ours: np.ndarray, theirs: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of the heat map of two models: A's share of each true class minus B's, in points.

    A cell is of kind `a` where A does better, by more that is found or less that is confused, and else of kind `b`.
    """
    rows, apart = [], _by_row(ours) - _by_row(theirs)
    for truth, differences in enumerate(apart.tolist()):
        cells = []
        for predicted, difference in enumerate(differences):
            kinds = ["d"] * (truth == predicted) + ["a" if (difference > 0) == (truth == predicted) else "b"]
            counts = [int(each[truth, predicted]) for each in (ours, theirs)]
            text = signed(difference, 0) if abs(difference) >= 0.005 else ""
            cells.append(_cell(kinds, counts, min(50, round(100 * abs(difference) ** 0.5)), text))
        rows.append({"name": classes[truth], "cells": cells})
    return rows


def _by_row(total: np.ndarray) -> np.ndarray:
    """Returns the counts as shares of their row."""
    return total / np.maximum(1, total.sum(1, keepdims=True))


def _cell(kinds: Sequence[str], counts: Sequence[int], strength: int, text: str) -> dict[str, Any]:
    """Returns a cell of a heat map; an empty one says nothing, so that many classes stay a small file."""
    from markupsafe import Markup
    said = f' data-n="{" ".join(map(str, counts))}" style="--v:{strength}"' if any(counts) else ""
    return {"attributes": Markup((f' class="{" ".join(kinds)}"' if kinds else "") + said), "text": text}


def lost(total: np.ndarray, classes: Sequence[str], colors: list[str]) -> list[dict[str, Any]]:
    """Returns the confusions that cost most pixels."""
    return _confusions(total / max(1, total.sum()), classes, colors, lambda share: f"{percent(share, 2)} %")


def differing(ours: np.ndarray, theirs: np.ndarray, classes: Sequence[str],
              colors: list[str]) -> list[dict[str, Any]]:
    """Returns the confusions that cost one model most pixels more than the other."""
    return _confusions((ours - theirs) / max(1, ours.sum()), classes, colors, lambda share: signed(share, 2))


def _confusions(shares: np.ndarray, classes: Sequence[str], colors: list[str], write: Callable[[float], str],
                most: int = 8) -> list[dict[str, Any]]:
    """Returns the greatest of (K, K) shares of all pixels that are off the diagonal."""
    wrong = shares * ~np.eye(len(shares), dtype=bool)
    pairs = [divmod(int(place), len(wrong)) for place in np.argsort(-np.abs(wrong), axis=None, kind="stable")[:most]]
    return [{"truth": classes[truth], "from_color": colors[truth], "predicted": classes[predicted],
             "to_color": colors[predicted], "share": write(wrong[truth, predicted])}
            for truth, predicted in pairs if wrong[truth, predicted]]


def model_facts(found: Results) -> list[tuple[str, str]]:
    environment = found.run / "env.json" if found.run else None
    trained = json.loads(environment.read_text()) if environment and environment.is_file() else {}
    facts = [("Network", found.scores["arch"]), ("Snapshot", found.settings.get("snapshot", "")),
             ("SHA-256", found.scores["snapshot_sha256"][:16] + "…"), ("Weights", found.settings.get("weights", "")),
             ("Trained at commit", (trained.get("commit") or "")[:12]), ("Trained on", trained.get("device", ""))]
    return [(term, str(value)) for term, value in facts if value]


def evaluation_facts(found: Results, data: Any) -> list[tuple[str, str]]:
    settings = found.settings
    names = {"data_root": "Data", "inference_mode": "Windows", "crop_size": "Crop", "sliding_overlap": "Overlap",
             "scales": "Scales", "flip": "Mirrored", "average": "Average of", "precision": "Precision",
             "device": "Device", "torch": "torch", "commit": "At commit"}
    facts = [("Images", f"{len(found.names):,} of {data.spec.title} {settings['split']}"),
             ("Pixels", f"{int(found.matrices.sum()):,} counted")]
    return facts + [(title, _plain(settings[name])) for name, title in names.items() if settings.get(name) is not None]


def further_scores(found: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns the scores that only some evaluations have, as groups of facts."""
    categories = {name: f"{percent(value)} %" for name, value in found.scores.get("per_category_IoU", {}).items()}
    outlines = {f"within {threshold}": f"{percent(value['mean'])} %, of classes that are there "
                                       f"{percent(value['mean_present'])} %"
                for threshold, value in found.scores.get("boundary_F", {}).items()}
    named = (("IoU of categories", categories), ("Boundary F", outlines))
    return [(title, list(rows.items())) for title, rows in named if rows]


def _plain(value: Any) -> str:
    """Returns a setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ("×" if all(isinstance(each, int) for each in value) else ", ").join(map(_plain, value))
    return str(value)


def class_colors(data: Any) -> list[str]:
    return [rgb(color) for color in data.spec.palette[:len(data.spec.names)].tolist()]


def rgb(color: Sequence[int]) -> str:
    return f"rgb({color[0]} {color[1]} {color[2]})"


def _places(at: float, low: float, high: float) -> dict[str, float]:
    return {"at": round(100 * float(at), 2), "from": round(100 * float(low), 2), "to": round(100 * float(high), 2)}


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    text = f"{abs(100 * value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def _share(part: float, whole: float, digits: int = 1) -> str:
    return percent(part / whole if whole else None, digits)
