"""One HTML file that holds a report: styles, script, numbers and pictures, so that it opens from disk alone."""
from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from utils.evaluation.statistics import paired_test
from utils.files import write_text
from utils.report import charts, figures, gallery, pictures, results
from utils.report.figures import percent, rgb, signed
from utils.report.gallery import ReportModel
from utils.report.results import Results
from utils.visualization.label_maps import WRONG, color_wheel

FOLDER = Path(__file__).parent
GROUPS = ("Worst", "Best", "Random")
PAIRED_GROUPS = ("B ahead", "A ahead", "Random")
INTERVALS = ("Intervals hold 95 % of the scores that 2,000 draws of as many images, with replacement, give: what other "
             "images of the same kind would have brought. They say nothing about another training.")
WHEEL = 96                                                  # pixels


def write(path: Path, model: ReportModel, data: Any, images: int = 50) -> None:
    """Writes the page of one evaluation.

    Args:
        data: the images that were scored, see `gallery.single`; its `spec` has `title`, `names` and `palette`.
        images: how many the gallery shows, at most.

    Raises:
        ValueError: the data has other classes or images than were scored, or jinja2 is not installed.
    """
    found = model.results
    _check_classes(found, data)
    template = read_template()
    ranking = results.mean(results.iou(found.matrices))
    items = list(gallery.single(model, data, gallery.choose(ranking, images, GROUPS)))
    total, draws = found.matrices.sum(0), results.resampled(found.matrices)
    colors = figures.class_colors(data)
    views = [_slide("Truth and prediction", ("truth", "Truth"), ("prediction", "Prediction")),
             _over("Errors", "errors", [(WRONG, "wrong"), (pictures.DARK, "not counted")])]
    _render(path, template, items, views, [("truth", "truth"), ("prediction", "predicted")], ("IoU",), found, colors, {
        "comparison": False,
        "kicker": "Evaluation",
        "heading": f"{found.scores['arch']} on {data.spec.title}, {found.settings['split']}",
        "lede": figures.lede(found, draws),
        "figures": figures.headlines(found, draws, data),
        "classes": figures.class_rows(total, draws["per_class_IoU"], found.classes, colors),
        "matrix": figures.matrix(total, found.classes), "lost": figures.lost(total, found.classes, colors),
        "charts": _drawn(charts.curves(found.run)),
        "gallery_note": "The images with the lowest and the highest mean IoU, and others at random, under what the "
                        "network predicts. Open one for its truth, errors and semantic flow; with a class chosen, the "
                        "images that hold it stand in the order of its IoU.",
        "facts": [("Model", figures.model_facts(found)), ("Evaluation", figures.evaluation_facts(found, data)),
                  *figures.further_scores(found)],
    })


def compare(path: Path, a: ReportModel, b: ReportModel, data: Any, images: int = 50) -> None:
    """Writes the page of two models on the same images. Args and Raises: see `write`.

    Raises:
        ValueError: also when the two did not score the same pixels of the same images.
    """
    a, b = (replace(model, results=common)
            for model, common in zip((a, b), aligned(a.results, b.results), strict=True))
    found = a.results
    _check_classes(found, data)
    template = read_template()
    test = paired_test(a.results.matrices, b.results.matrices)
    ious = [results.mean(results.iou(model.results.matrices)) for model in (a, b)]
    items = list(gallery.paired(a, b, data, gallery.choose(ious[0] - ious[1], images, PAIRED_GROUPS)))
    draws = [results.resampled(model.results.matrices) for model in (a, b)]
    totals = [model.results.matrices.sum(0) for model in (a, b)]
    colors = figures.class_colors(data)
    views = [_slide("A and B", ("a", "A"), ("b", "B")), _slide("Truth and A", ("truth", "Truth"), ("a", "A")),
             _slide("Truth and B", ("truth", "Truth"), ("b", "B")),
             _over("Disagreement", "disagreement", [
                 (pictures.ONLY_A, "only A is right"), (pictures.ONLY_B, "only B is right"),
                 (pictures.BOTH_WRONG, "both are wrong"), (pictures.DARK, "not counted")])]
    names = [model.results.title for model in (a, b)]
    probes = [("truth", "truth"), ("a", "A"), ("b", "B")]
    _render(path, template, items, views, probes, ("A", "B"), a.results, colors, {
        "comparison": True,
        "kicker": "Comparison",
        "heading": f"{names[0]} against {names[1]}",
        "lede": figures.verdict(test, a.results, data),
        "figures": [*(figures.figure(f"Mean IoU of {letter}, {name}", float(results.mean(results.iou(total))),
                              results.interval(draw["mIoU"]))
                      for letter, name, total, draw in zip("AB", names, totals, draws, strict=True)),
                    figures.difference_figure(test)],
        "classes": figures.difference_rows(totals, [draw["per_class_IoU"] for draw in draws], found.classes, colors),
        "matrix": figures.difference_matrix(totals[0], totals[1], found.classes),
        "lost": figures.differing(totals[0], totals[1], found.classes, colors),
        "charts": _drawn(charts.paired_curves({"A": a.results.run, "B": b.results.run})),
        "gallery_note": "The images on which the two differ most in mean IoU, either way, and others at random; the "
                        "number is A minus B in points. Teal: only A is right, orange: only B, violet: both are wrong.",
        "facts": [("A", [*figures.model_facts(a.results), *figures.evaluation_facts(a.results, data)]),
                  ("B", [*figures.model_facts(b.results), *figures.evaluation_facts(b.results, data)])],
    })


def _render(path: Path, template: Any, items: list[dict[str, Any]], views: list[dict[str, Any]],
            probes: list[tuple[str, str]], models: Sequence[str], found: Results, colors: list[str],
            context: dict[str, Any]) -> None:
    """Fills in the template with what both kinds of page have, and writes the file."""
    shown = ("name", "group", "size", "mIoU", "accuracy", "iou", "share")
    page = {"classes": found.classes, "colors": colors, "models": models, "views": views, "probes": probes,
            "wheel": pictures.jpeg(color_wheel(WHEEL), 92),
            "items": [{key: item[key] for key in shown} for item in items]}
    counts = Counter(item["group"] for item in items)
    for item in items:
        item["json"] = _embedded({"layers": item["layers"], "flows": item["flows"]})
        ours, *others = item["mIoU"]
        item["label"] = signed(ours - others[0]) if others else percent(ours)
    occurring = [(index, name) for index, name in enumerate(found.classes)
                 if any(item["share"][index] for item in items)]
    sections = [("scores", "Scores"), ("classes", "Classes"), ("confusion", "Confusion"), ("training", "Training"),
                ("gallery", "Images"), ("facts", "Facts")]
    absent = {"confusion": not context["matrix"], "training": not context["charts"]}
    text = template.render(
        **context, title=context["heading"], items=items, models=models, groups=counts.items(),
        sections=[one for one in sections if not absent.get(one[0])], class_options=occurring, interval_note=INTERVALS,
        chart_size=(charts.WIDTH, charts.HEIGHT), page_json=_embedded(page),
        css=_source("page.css"), script=_source("page.js"),
        made=f"Made by python -m tools.report, {time.strftime('%Y-%m-%d')}. Everything is in this file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _drawn(made: Sequence[charts.Chart]) -> list[dict[str, Any]]:
    return [{**asdict(one), "series_json": json.dumps([asdict(line) for line in one.series])} for one in made]


def _slide(title: str, left: tuple[str, str], right: tuple[str, str]) -> dict[str, Any]:
    """Returns a view of two layers, each (key, name), left and right of a line that can be moved."""
    return {"title": title, "kind": "slide", "left": left[0], "right": right[0], "names": [left[1], right[1]]}


def _over(title: str, layer: str, legend: Sequence[tuple[Sequence[int], str]]) -> dict[str, Any]:
    """Returns a view of one layer over the gray image, with the meaning of its colors."""
    return {"title": title, "kind": "over", "layer": layer, "legend": [(rgb(color), text) for color, text in legend]}


def read_template() -> Any:
    """Returns the page's template. Raises ValueError when jinja2 is not installed."""
    try:
        import jinja2
    except ImportError as error:
        raise ValueError("a report needs jinja2: pip install '.[report]'") from error
    loader = jinja2.FileSystemLoader(FOLDER)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True).get_template("page.html")


def _source(name: str) -> Any:
    from markupsafe import Markup
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _embedded(value: Any) -> Any:
    """Returns JSON that no text in it can end the script element of."""
    from markupsafe import Markup
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _check_classes(found: Results, data: Any) -> None:
    if found.classes != tuple(data.spec.names):
        raise ValueError(f"{found.folder} scored the {len(found.classes)} classes {', '.join(found.classes[:4])}, ... "
                         f"but {data.spec.title} has the {len(data.spec.names)} classes "
                         f"{', '.join(data.spec.names[:4])}, ...: score the snapshot again with eval.py")


def aligned(ours: Results, theirs: Results) -> tuple[Results, Results]:
    """Returns two models' results on their common images, both in the order of the first.

    Raises:
        ValueError: other classes, another dataset, or no common image.
    """
    if ours.classes != theirs.classes or ours.settings["dataset"] != theirs.settings["dataset"]:
        raise ValueError(f"{ours.folder} holds {len(ours.classes)} classes of {ours.settings['dataset']} "
                         f"({', '.join(ours.classes[:4])}, ...), {theirs.folder} {len(theirs.classes)} of "
                         f"{theirs.settings['dataset']} ({', '.join(theirs.classes[:4])}, ...): "
                         "only models of the same classes of one dataset can be compared")
    there = {name: place for place, name in enumerate(theirs.names)}
    common = [(place, there[name]) for place, name in enumerate(ours.names) if name in there]
    if not common:
        raise ValueError(f"{ours.folder} and {theirs.folder} have no image in common "
                         f"(such as {ours.names[0]} there, {theirs.names[0]} here): score both on one split")
    return ours.only([place for place, _ in common]), theirs.only([place for _, place in common])
