"""The numbers of a report's page as text: headlines, tables, confusion matrix and facts."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.statistics import Comparison
from utils.files import read_record
from utils.report import results
from utils.report.results import Results

# key of the scores, title
SCORES = (("mIoU", "Mean IoU"), ("pixel_accuracy", "Pixel accuracy"),
          ("mean_accuracy", "Mean accuracy"), ("fwIoU", "Frequency-weighted IoU"))
# setting, title
# the folder of the data is not among them: a page is sent to others
SETTINGS = (("inference_mode", "Inference"), ("crop_size", "Crop"),
            ("sliding_overlap", "Overlap"), ("scales", "Scales"), ("flip", "Flip"),
            ("average", "Average of"), ("precision", "Precision"), ("device", "Device"),
            ("torch", "torch"), ("commit", "At commit"))
# cells of the confusion matrix above this strength have light text
STRONG = 62
MAX_CONFUSIONS = 8
SIGNIFICANCE = 0.05


def summary(evaluated: Results, draws: dict[str, np.ndarray]) -> str:
    """Returns the mean IoU with its interval, and the best and the worst class, as sentences."""
    bounds = results.interval(draws["mIoU"])
    interval = ""
    if bounds:
        interval = f" (95 % interval {percent(bounds[0], 1)} to {percent(bounds[1], 1)})"
    per_class = {name: iou for name, iou in evaluated.scores["per_class_IoU"].items()
                 if iou is not None}
    extremes = ""
    if len(per_class) > 1:
        best = max(per_class, key=per_class.__getitem__)
        worst = min(per_class, key=per_class.__getitem__)
        extremes = (f" The best class is {best} ({percent(per_class[best], 1)} %), the worst is "
                    f"{worst} ({percent(per_class[worst], 1)} %).")
    return (f"{percent(evaluated.scores['mIoU'], 1)} % mean IoU{interval} over {len(per_class)} "
            f"classes on {_images(len(evaluated.names))}.{extremes}")


def comparison_summary(test: Comparison, evaluated: Results, data: Any) -> str:
    """Returns which model is better and whether the difference is significant, as a sentence."""
    outcome = "A and B are level"
    if test.difference:
        better = "A" if test.difference > 0 else "B"
        outcome = f"{better} is ahead by {percent(abs(test.difference), 2)} points of mean IoU"
    significance = ("more than the choice of images explains" if test.p_value < SIGNIFICANCE else
                    "no more than the choice of images can explain")
    return (f"{outcome} on {_images(len(evaluated.names))} of {data.spec.title}, {significance} "
            f"(95 % interval of A − B {signed(test.low, 2)} to {signed(test.high, 2)}, permutation "
            f"test p = {test.p_value:.2g}).")


def headline(title: str, value: float | None, bounds: tuple[float, float] | None,
             note: str = "") -> dict[str, Any]:
    """Returns a score in [0, 1] with its interval, as the template shows it."""
    low, high = bounds if bounds and value is not None else (None, None)
    return {
        "title": title,
        "value": percent(value, 2),
        "unit": "" if value is None else "%",
        "note": note,
        "meter": "range",
        "low": None if low is None else percent(low, 1),
        "high": percent(high, 1),
        **_positions(value or 0, low or 0, high or 0),
    }


def difference_headline(test: Comparison) -> dict[str, Any]:
    """Returns the difference of two models with its interval, as the template shows it."""
    # half of the meter's width, with a margin
    scale = 2.4 * max(0.001, abs(test.low), abs(test.high))
    return {
        "title": "A − B",
        "value": signed(test.difference, 2),
        "unit": "points",
        "meter": f"diverging {'plus' if test.difference >= 0 else 'minus'}",
        "note": f"p = {test.p_value:.2g} (permutation)",
        "low": signed(test.low, 2),
        "high": signed(test.high, 2),
        **_positions(test.difference / scale, test.low / scale, test.high / scale),
    }


def headlines(evaluated: Results, draws: dict[str, np.ndarray], data: Any) -> list[dict[str, Any]]:
    """Returns the scores with intervals, that of the categories if the dataset has them."""
    shown = [headline(title, evaluated.scores.get(name), results.interval(draws[name]))
             for name, title in SCORES]
    value = evaluated.scores.get("mean_category_IoU")
    if value is not None:
        categories = [row.category for row in data.spec.classes]
        by_category = np.array([])
        # the interval is known if each class has a category
        if all(categories):
            merged = results.merge_classes(evaluated.matrices, categories)
            by_category = results.resampled(merged, groups=evaluated.groups)["mIoU"]
        shown.append(headline("Mean category IoU", value, results.interval(by_category)))
    return shown


def class_rows(total: np.ndarray, draws: np.ndarray, classes: Sequence[str],
               colors: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes, best first and absent ones last.

    Args:
        total: (K, K) counts of all images, rows are labels.
        draws: (B, K) IoU of each class on bootstrap draws.
    """
    ious, correct = results.iou(total), total.diagonal()
    labeled, predicted = total.sum(1), total.sum(0)
    rows = []
    # NaN sorts last
    for index in np.argsort(-ious, kind="stable"):
        row: dict[str, Any] = {"name": classes[index], "color": colors[index], "iou": None}
        bounds = results.interval(draws[:, index])
        if bounds:
            row |= {
                "iou": percent(ious[index], 1),
                "low": percent(bounds[0], 1),
                "high": percent(bounds[1], 1),
                "recall": _ratio(correct[index], labeled[index]),
                "precision": _ratio(correct[index], predicted[index]),
                "share": _ratio(labeled[index], total.sum()),
                **_positions(ious[index], *bounds),
            }
        rows.append(row)
    return rows


def difference_rows(totals: Sequence[np.ndarray], draws: Sequence[np.ndarray],
                    classes: Sequence[str], colors: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes by A's lead, largest first and those without an IoU last.

    Args:
        totals: (K, K) counts of A and of B.
        draws: (B, K) IoU of each class on bootstrap draws, of A and of B.
    """
    ious_a, ious_b = (results.iou(total) for total in totals)
    bounds = [results.interval(draws[0][:, index] - draws[1][:, index])
              for index in range(len(classes))]
    largest = max((abs(bound) for pair in bounds if pair for bound in pair), default=0)
    # half of the bars' width, with a margin
    scale = 2.1 * max(0.005, largest)
    rows = []
    for index in np.argsort(ious_b - ious_a, kind="stable"):
        row: dict[str, Any] = {"name": classes[index], "color": colors[index], "difference": None,
                               "a": percent(ious_a[index], 1), "b": percent(ious_b[index], 1)}
        difference, interval = ious_a[index] - ious_b[index], bounds[index]
        if interval and not np.isnan(difference):
            low, high = interval
            row |= {"difference": signed(difference), "low": signed(low), "high": signed(high),
                    **_positions(difference / scale, low / scale, high / scale)}
        rows.append(row)
    return rows


def matrix_rows(total: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the heat map of one model's confusion matrix, normalized by row.

    The strength of a cell is the square root of its fraction of the row.
    """
    rows = []
    fractions = _normalize_rows(total).tolist()
    for label, (counts, row_fractions) in enumerate(zip(total.tolist(), fractions, strict=True)):
        cells = []
        for prediction, (count, fraction) in enumerate(zip(counts, row_fractions, strict=True)):
            strength = round(100 * fraction ** 0.5)
            css_classes = ["d"] if label == prediction else []
            if strength > STRONG:
                css_classes.append("on")
            text = f"{100 * fraction:.0f}" if fraction >= 0.005 else ""
            cells.append(_cell(css_classes, [count], strength, text))
        rows.append({"name": classes[label], "cells": cells})
    return rows


def difference_matrix_rows(total_a: np.ndarray, total_b: np.ndarray,
                           classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the heat map of two models: fraction of the row of A minus that of B, in points.

    A cell is of class `a` if A is better, with more correct or fewer confused pixels, else `b`.
    """
    rows = []
    differences = _normalize_rows(total_a) - _normalize_rows(total_b)
    for label, row_differences in enumerate(differences.tolist()):
        cells = []
        for prediction, difference in enumerate(row_differences):
            is_diagonal = label == prediction
            a_is_better = (difference > 0) == is_diagonal
            css_classes = [*(["d"] if is_diagonal else []), "a" if a_is_better else "b"]
            counts = [int(total_a[label, prediction]), int(total_b[label, prediction])]
            strength = min(50, round(100 * abs(difference) ** 0.5))
            text = signed(difference, 0) if abs(difference) >= 0.005 else ""
            cells.append(_cell(css_classes, counts, strength, text))
        rows.append({"name": classes[label], "cells": cells})
    return rows


def _normalize_rows(total: np.ndarray) -> np.ndarray:
    return total / np.maximum(1, total.sum(1, keepdims=True))


def _cell(css_classes: Sequence[str], counts: Sequence[int], strength: int,
          text: str) -> dict[str, Any]:
    """Returns a cell of a heat map; an empty one has no data, which keeps large matrices small."""
    from markupsafe import Markup
    attributes = f' class="{" ".join(css_classes)}"' if css_classes else ""
    if any(counts):
        attributes += f' data-n="{" ".join(map(str, counts))}" style="--v:{strength}"'
    return {"attributes": Markup(attributes), "text": text}


def largest_confusions(total: np.ndarray, classes: Sequence[str],
                       colors: list[str]) -> list[dict[str, Any]]:
    """Returns the confusions of most pixels, as fractions of all pixels."""
    return _confusions(total / max(1, total.sum()), classes, colors,
                       lambda fraction: f"{percent(fraction, 2)} %")


def largest_confusion_differences(total_a: np.ndarray, total_b: np.ndarray, classes: Sequence[str],
                                  colors: list[str]) -> list[dict[str, Any]]:
    """Returns the confusions whose fractions of all pixels differ most between two models."""
    return _confusions((total_a - total_b) / max(1, total_a.sum()), classes, colors,
                       lambda fraction: signed(fraction, 2))


def _confusions(fractions: np.ndarray, classes: Sequence[str], colors: list[str],
                format_fraction: Callable[[float], str]) -> list[dict[str, Any]]:
    """Returns the greatest absolute values of (K, K) fractions off the diagonal."""
    wrong = fractions * ~np.eye(len(fractions), dtype=bool)
    order = np.argsort(-np.abs(wrong), axis=None, kind="stable")[:MAX_CONFUSIONS]
    rows = []
    for label, prediction in (divmod(int(index), len(wrong)) for index in order):
        if wrong[label, prediction]:
            rows.append({"label": classes[label], "label_color": colors[label],
                         "prediction": classes[prediction], "prediction_color": colors[prediction],
                         "share": format_fraction(wrong[label, prediction])})
    return rows


def model_facts(evaluated: Results) -> list[tuple[str, str]]:
    """Returns (term, value) pairs about the network and its training."""
    environment = read_record(evaluated.run / "env.json") if evaluated.run else {}
    facts = [
        ("Network", evaluated.scores["arch"]),
        ("Snapshot", _short_path(evaluated.settings.get("snapshot", ""))),
        ("SHA-256", evaluated.scores["snapshot_sha256"][:16] + "…"),
        ("Weights", evaluated.settings.get("weights", "")),
        ("Trained at commit", (environment.get("commit") or "")[:12]),
        ("Trained on", environment.get("device", "")),
    ]
    return [(term, str(value)) for term, value in facts if value]


def _short_path(path: str) -> str:
    """Returns a file and its folder alone: the rest of a path says how a machine is set up."""
    return "/".join(Path(path).parts[-2:]).removeprefix("/")


def evaluation_facts(evaluated: Results, data: Any) -> list[tuple[str, str]]:
    """Returns (term, value) pairs about the evaluation."""
    settings = evaluated.settings
    images = f"{len(evaluated.names):,} of {data.spec.title} {settings['split']}"
    facts = [("Images", images), ("Pixels", f"{int(evaluated.matrices.sum()):,} counted")]
    return facts + [(title, _format_setting(settings[name])) for name, title in SETTINGS
                    if settings.get(name) is not None]


def further_scores(evaluated: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns the scores that only some evaluations have, as groups of (term, value) pairs."""
    categories = [(name, f"{percent(iou)} %")
                  for name, iou in evaluated.scores.get("per_category_IoU", {}).items()]
    boundaries = [(f"within {threshold}", f"{percent(means['mean'])} %, of present classes "
                                          f"{percent(means['mean_present'])} %")
                  for threshold, means in evaluated.scores.get("boundary_F", {}).items()]
    groups = (("IoU of categories", categories), ("Boundary F", boundaries),
              ("Calibration", _calibration(evaluated.scores.get("calibration"))))
    return [(title, rows) for title, rows in groups if rows]


def _calibration(summary: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Returns (term, value) pairs of `utils.evaluation.calibration.summarize`."""
    if summary is None or summary["ECE"] is None:
        return []
    rows = [("Expected calibration error", f"{percent(summary['ECE'])} %"),
            ("Temperature", f"{summary['temperature']:.3f}")]
    if summary["review"] is not None:
        rows.append(("90 % of the errors are in", f"{percent(summary['review'])} % of the pixels, "
                                                  "the least confident"))
    return rows


def _format_setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        # a size, or a list of scales
        is_size = all(isinstance(item, int) for item in value)
        return ("×" if is_size else ", ").join(map(_format_setting, value))
    return str(value)


def class_colors(data: Any) -> list[str]:
    """Returns the CSS color of each class."""
    return [css_color(color) for color in data.spec.palette[:len(data.spec.names)].tolist()]


def css_color(color: Sequence[int]) -> str:
    return f"rgb({color[0]} {color[1]} {color[2]})"


def _positions(value: float, low: float, high: float) -> dict[str, float]:
    """Returns the positions of a value and its interval on a meter, in %."""
    return {"at": round(100 * float(value), 2), "from": round(100 * float(low), 2),
            "to": round(100 * float(high), 2)}


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def percent(value: float | None, digits: int = 1) -> str:
    """Formats a fraction in %, without the sign; "–" for None and NaN."""
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """Formats a difference of fractions in points, with a sign unless it rounds to 0."""
    text = f"{abs(100 * value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _ratio(numerator: float, denominator: float) -> str:
    return percent(numerator / denominator if denominator else None)
