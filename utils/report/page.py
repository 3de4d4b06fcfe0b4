"""The page of a report: one HTML file with styles, script, numbers and pictures in it."""
from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.statistics import paired_test
from utils.files import write_text
from utils.packages import require_package
from utils.report import charts, gallery, pictures, results, tables
from utils.report.gallery import ReportModel
from utils.report.results import Results
from utils.report.tables import css_color, percent, signed
from utils.visualization import confidence
from utils.visualization.label_maps import WRONG, color_wheel

FOLDER = Path(__file__).parent
GROUPS = ("Worst", "Best", "Random")
PAIRED_GROUPS = ("B ahead", "A ahead", "Random")
INTERVAL_NOTE = ("Intervals hold 95 % of the scores of 2,000 bootstrap draws of the images, or of "
                 "whole drives where the dataset names them: they show how much the score depends "
                 "on the choice of images, and do not show how much it varies between trainings.")
SINGLE_NOTE = ("The images with the lowest and the highest mean IoU, and random others, with the "
               "predictions. Open one for its labels, errors, confidence and semantic flow. With a "
               "class chosen, the images that contain it are sorted by its IoU.")
PAIRED_NOTE = ("The images on which the models differ most in mean IoU, and random others; the "
               "number is A minus B in points. Teal: only A is right, orange: only B, violet: both "
               "are wrong.")
# of the color wheel in pixels
WHEEL_SIDE = 96
# id of a section, title
SECTIONS = (("scores", "Scores"), ("classes", "Classes"), ("confusion", "Confusion"),
            ("training", "Training"), ("gallery", "Images"), ("facts", "Facts"))
# entries of a gallery item that the list of images needs
ITEM_NUMBERS = ("name", "group", "size", "mIoU", "accuracy", "iou", "share")


@dataclass(frozen=True)
class Viewer:
    """What the image viewer of a page offers.

    Attributes:
        models: names of the models.
        views: see `_slide`, `_over` and `_tint`.
        probes: (layer, title) of the label maps whose class at the pointer is shown.
    """

    models: tuple[str, ...]
    views: Sequence[dict[str, Any]]
    probes: Sequence[tuple[str, str]]


def write(path: Path, model: ReportModel, data: Any, images: int = 50) -> None:
    """Writes the page of one evaluation.

    Args:
        data: the evaluated images, see `gallery.single_items`; its `spec` has `title`, `names` and
            `palette`.
        images: largest number of images in the gallery.

    Raises:
        ValueError: the data has other classes or images than the evaluation, or jinja2 is not
            installed.
    """
    evaluated = model.results
    _check_classes(evaluated, data)
    template = read_template()
    ranking = results.mean(results.iou(evaluated.matrices))
    choices = gallery.choose(ranking, images, GROUPS)
    items = list(gallery.single_items(model, data, choices))
    total = evaluated.matrices.sum(0)
    draws = results.resampled(evaluated.matrices, groups=evaluated.groups)
    colors, classes = tables.class_colors(data), evaluated.classes
    viewer = _single_viewer(with_confidence=not model.predictor.returns_labels)
    _render(path, template, items, viewer, evaluated, colors, {
        "comparison": False,
        "page_type": "Evaluation",
        "heading": f"{evaluated.scores['arch']} on {data.spec.title}, "
                   f"{evaluated.settings['split']}",
        "summary": tables.summary(evaluated, draws),
        "headlines": tables.headlines(evaluated, draws, data),
        "classes": tables.class_rows(total, draws["per_class_IoU"], classes, colors),
        "matrix": tables.matrix_rows(total, classes),
        "confusions": tables.largest_confusions(total, classes, colors),
        "charts": _with_json(charts.training_charts(evaluated.run)),
        "gallery_note": SINGLE_NOTE,
        "facts": [("Model", tables.model_facts(evaluated)),
                  ("Evaluation", tables.evaluation_facts(evaluated, data)),
                  *tables.further_scores(evaluated)],
    })


def compare(path: Path, a: ReportModel, b: ReportModel, data: Any, images: int = 50) -> str:
    """Writes the page of two models on their common images. Args: see `write`.

    Returns:
        Which model is better, with its interval, as a sentence.

    Raises:
        ValueError: see `write`, or the models did not count the same labels.
    """
    results_a, results_b = align(a.results, b.results)
    _check_classes(results_a, data)
    template = read_template()
    a, b = replace(a, results=results_a), replace(b, results=results_b)
    lead = _mean_ious(results_a.matrices) - _mean_ious(results_b.matrices)
    choices = gallery.choose(lead, images, PAIRED_GROUPS)
    items = list(gallery.paired_items(a, b, data, choices))
    colors = tables.class_colors(data)
    numbers = _comparison(results_a, results_b, data, colors)
    _render(path, template, items, _paired_viewer(), results_a, colors, {
        "comparison": True,
        "page_type": "Comparison",
        "heading": f"{results_a.title} against {results_b.title}",
        **numbers,
        "charts": _with_json(charts.comparison_charts({"A": results_a.run, "B": results_b.run})),
        "gallery_note": PAIRED_NOTE,
        "facts": [(name, [*tables.model_facts(evaluated),
                          *tables.evaluation_facts(evaluated, data)])
                  for name, evaluated in (("A", results_a), ("B", results_b))],
    })
    return numbers["summary"]


def _comparison(a: Results, b: Results, data: Any, colors: list[str]) -> dict[str, Any]:
    """Returns the numbers of the page of two models, for the template."""
    # an evaluation of an older version has no groups
    groups = a.groups or b.groups
    test = paired_test(a.matrices, b.matrices, groups=groups)
    total_a, total_b = a.matrices.sum(0), b.matrices.sum(0)
    draws_a, draws_b = (results.resampled(model.matrices, groups=groups) for model in (a, b))
    return {
        "summary": tables.comparison_summary(test, a, data),
        "headlines": [
            tables.headline(f"Mean IoU of A, {a.title}", float(_mean_ious(total_a)),
                            results.interval(draws_a["mIoU"])),
            tables.headline(f"Mean IoU of B, {b.title}", float(_mean_ious(total_b)),
                            results.interval(draws_b["mIoU"])),
            tables.difference_headline(test),
        ],
        "classes": tables.difference_rows(
            (total_a, total_b), (draws_a["per_class_IoU"], draws_b["per_class_IoU"]), a.classes,
            colors),
        "matrix": tables.difference_matrix_rows(total_a, total_b, a.classes),
        "confusions": tables.largest_confusion_differences(total_a, total_b, a.classes, colors),
    }


def _mean_ious(matrices: np.ndarray) -> np.ndarray:
    return results.mean(results.iou(matrices))


def _single_viewer(with_confidence: bool) -> Viewer:
    views = [
        _slide("Labels and predictions", ("labels", "Labels"), ("predictions", "Predictions")),
        _over("Errors", "errors", [(WRONG, "wrong"), (pictures.DARK, "ignored")]),
    ]
    if with_confidence:
        views += [_tint("Confidence", "probability"), _tint("Margin", "margin")]
    return Viewer(("IoU",), views, [("labels", "label"), ("predictions", "prediction")])


def _paired_viewer() -> Viewer:
    disagreement = [
        (pictures.ONLY_A, "only A is right"), (pictures.ONLY_B, "only B is right"),
        (pictures.BOTH_WRONG, "both are wrong"), (pictures.DARK, "ignored"),
    ]
    views = [
        _slide("A and B", ("a", "A"), ("b", "B")),
        _slide("Labels and A", ("labels", "Labels"), ("a", "A")),
        _slide("Labels and B", ("labels", "Labels"), ("b", "B")),
        _over("Disagreement", "disagreement", disagreement),
    ]
    return Viewer(("A", "B"), views, [("labels", "label"), ("a", "A"), ("b", "B")])


def _slide(title: str, left: tuple[str, str], right: tuple[str, str]) -> dict[str, Any]:
    """Returns a view of two layers, each (key, name), on both sides of a movable line."""
    return {"title": title, "kind": "slide", "left": left[0], "right": right[0],
            "names": [left[1], right[1]]}


def _over(title: str, layer: str,
          legend: Sequence[tuple[Sequence[int], str]]) -> dict[str, Any]:
    """Returns a view of one layer over the gray image, with the meaning of its colors."""
    return {"title": title, "kind": "over", "layer": layer,
            "legend": [(css_color(color), text) for color, text in legend]}


def _tint(title: str, layer: str) -> dict[str, Any]:
    """Returns a view of a map of confidence over the image."""
    return {"title": title, "kind": "tint", "layer": layer,
            "legend": [(css_color(color), text) for color, text in confidence.legend()]}


def _render(path: Path, template: Any, items: list[dict[str, Any]], viewer: Viewer,
            evaluated: Results, colors: list[str], context: dict[str, Any]) -> None:
    """Adds what all pages have to the context, and writes the file."""
    page = {
        "classes": evaluated.classes, "colors": colors, "models": viewer.models,
        "views": viewer.views, "probes": viewer.probes,
        "wheel": pictures.jpeg(color_wheel(WHEEL_SIDE), 92),
        "items": [{key: item[key] for key in ITEM_NUMBERS} for item in items],
    }
    for item in items:
        item["json"] = _embed({"layers": item["layers"], "flows": item["flows"]})
        item["label"] = _item_label(item["mIoU"])
    absent = {"confusion": not context["matrix"], "training": not context["charts"]}
    text = template.render(
        **context,
        title=context["heading"],
        breakable_heading=_breakable(context["heading"]),
        items=items,
        models=viewer.models,
        groups=Counter(item["group"] for item in items).items(),
        sections=[(id, title) for id, title in SECTIONS if not absent.get(id)],
        class_options=[(index, name) for index, name in enumerate(evaluated.classes)
                       if any(item["share"][index] for item in items)],
        interval_note=INTERVAL_NOTE,
        chart_size=(charts.WIDTH, charts.HEIGHT),
        page_json=_embed(page),
        css=read_source("page.css"),
        script=read_source("page.js"),
        footer=f"Made by python -m tools.report, {time.strftime('%Y-%m-%d')}. This file needs no "
               "others.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _item_label(mean_ious: Sequence[float]) -> str:
    """Returns the mean IoU of one model, or the difference of two."""
    if len(mean_ious) == 1:
        return percent(mean_ious[0])
    return signed(mean_ious[0] - mean_ious[1])


def _with_json(line_charts: Sequence[charts.Chart]) -> list[dict[str, Any]]:
    """Returns the charts as dicts, with the series as JSON for the script."""
    return [{**asdict(chart), "series_json": json.dumps([asdict(line) for line in chart.series])}
            for chart in line_charts]


def read_template(name: str = "page.html") -> Any:
    """Returns the jinja2 template of a page. Raises ValueError if jinja2 cannot be imported."""
    jinja2 = require_package("jinja2", needed_by="a report", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def read_source(name: str) -> Any:
    """Returns a file beside this module, for embedding."""
    from markupsafe import Markup
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _breakable(text: str) -> Any:
    """Returns escaped HTML that may break after a colon or a dot, as in a timm backbone's name."""
    from markupsafe import Markup, escape
    return Markup(re.sub(r"([:.])", r"\1<wbr>", str(escape(text))))


def _embed(value: Any) -> Any:
    """Returns JSON for a script element, escaped so that no text in it can end the element."""
    from markupsafe import Markup
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _check_classes(evaluated: Results, data: Any) -> None:
    names = data.spec.names
    if evaluated.classes != tuple(names):
        raise ValueError(f"{evaluated.folder} scored the {len(evaluated.classes)} classes "
                         f"{', '.join(evaluated.classes[:4])}, ... but {data.spec.title} has the "
                         f"{len(names)} classes {', '.join(names[:4])}, ...: score the snapshot "
                         "again with eval.py")


def align(a: Results, b: Results) -> tuple[Results, Results]:
    """Returns two models' results on their common images, both in the order of `a`.

    Raises:
        ValueError: the classes or datasets differ, or there is no common image.
    """
    if a.classes != b.classes or a.settings["dataset"] != b.settings["dataset"]:
        raise ValueError(f"{a.folder} holds {len(a.classes)} classes of {a.settings['dataset']} "
                         f"({', '.join(a.classes[:4])}, ...), {b.folder} {len(b.classes)} of "
                         f"{b.settings['dataset']} ({', '.join(b.classes[:4])}, ...): only models "
                         "of the same classes of one dataset can be compared")
    indices_b = {name: index for index, name in enumerate(b.names)}
    common = [(index, indices_b[name]) for index, name in enumerate(a.names) if name in indices_b]
    if not common:
        raise ValueError(f"{a.folder} and {b.folder} have no image in common (such as "
                         f"{a.names[0]} and {b.names[0]}): score both on one split")
    return a.select([index for index, _ in common]), b.select([index for _, index in common])
