"""One HTML file that holds a report: styles, script, numbers and pictures, so that it opens from disk alone."""
from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.checkpoint import write_text
from utils.report import charts, gallery, pictures, results
from utils.report.gallery import Model
from utils.report.results import Results
from utils.statistics import Comparison, paired_test
from utils.visualize import WRONG, colour_wheel

FOLDER = Path(__file__).parent
SCORES = (("mIoU", "Mean IoU"), ("pixel_accuracy", "Pixel accuracy"), ("mean_accuracy", "Mean accuracy"),
          ("fwIoU", "Frequency-weighted IoU"))
GROUPS = ("Worst", "Best", "Random")
PAIRED_GROUPS = ("B ahead", "A ahead", "Random")
INTERVALS = ("Intervals hold 95 % of the scores that 2,000 draws of as many images, with replacement, give: what other "
             "images of the same kind would have brought. They say nothing about another training.")
WHEEL = 96                                                  # pixels


def write(path: Path, model: Model, data: Any, images: int = 50) -> None:
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
    colours = _colours(data)
    views = [_slide("Truth and prediction", ("truth", "Truth"), ("prediction", "Prediction")),
             _over("Errors", "errors", [(WRONG, "wrong"), (pictures.DARK, "not counted")])]
    training = charts.curves(found.run)
    _render(path, template, items, views, [("truth", "truth"), ("prediction", "predicted")], ("IoU",), found, colours, {
        "comparison": False,
        "kicker": "Evaluation",
        "heading": f"{found.scores['arch']} on {data.spec.title}, {found.settings['split']}",
        "lede": _lede(found, draws),
        "figures": [_figure(title, found.scores.get(name), results.interval(draws[name])) for name, title in SCORES]
        + _category_figures(found, data),
        "classes": _class_rows(total, draws["per_class_IoU"], found.classes, colours),
        "matrix": _matrix(total, found.classes), "lost": _lost(total, found.classes, colours),
        "charts": [{**asdict(one), "series_json": json.dumps([asdict(line) for line in one.series])}
                   for one in training],
        "gallery_note": "The images with the lowest and the highest mean IoU, and others at random, under what the "
                        "network predicts. Open one for its truth, errors and semantic flow; with a class chosen, the "
                        "images that hold it stand in the order of its IoU.",
        "facts": [("Model", _model_facts(found)), ("Evaluation", _evaluation_facts(found, data)),
                  *_further_scores(found)],
    })


def compare(path: Path, a: Model, b: Model, data: Any, images: int = 50) -> None:
    """Writes the page of two models on the same images. Args and Raises: see `write`.

    Raises:
        ValueError: also when the two did not score the same pixels of the same images.
    """
    a, b = (replace(model, results=common)
            for model, common in zip((a, b), aligned(a.results, b.results), strict=True))
    _check_classes(a.results, data)
    template = read_template()
    test = paired_test(a.results.matrices, b.results.matrices)
    ious = [results.mean(results.iou(model.results.matrices)) for model in (a, b)]
    items = list(gallery.paired(a, b, data, gallery.choose(ious[0] - ious[1], images, PAIRED_GROUPS)))
    draws = [results.resampled(model.results.matrices) for model in (a, b)]
    totals = [model.results.matrices.sum(0) for model in (a, b)]
    colours = _colours(data)
    views = [_slide("A and B", ("a", "A"), ("b", "B")), _slide("Truth and A", ("truth", "Truth"), ("a", "A")),
             _slide("Truth and B", ("truth", "Truth"), ("b", "B")),
             _over("Disagreement", "disagreement", [
                 (pictures.ONLY_A, "only A is right"), (pictures.ONLY_B, "only B is right"),
                 (pictures.BOTH_WRONG, "both are wrong"), (pictures.DARK, "not counted")])]
    names = [model.results.title for model in (a, b)]
    probes = [("truth", "truth"), ("a", "A"), ("b", "B")]
    _render(path, template, items, views, probes, ("A", "B"), a.results, colours, {
        "comparison": True,
        "kicker": "Comparison",
        "heading": f"{names[0]} against {names[1]}",
        "lede": _verdict(test, a.results, data),
        "figures": [*(_figure(f"Mean IoU of {letter}, {name}", float(results.mean(results.iou(total))),
                              results.interval(draw["mIoU"]))
                      for letter, name, total, draw in zip("AB", names, totals, draws, strict=True)),
                    _difference_figure(test)],
        "classes": _difference_rows(totals, [each["per_class_IoU"] for each in draws], a.results.classes, colours),
        "matrix": [], "lost": [], "charts": [],
        "gallery_note": "The images on which the two differ most in mean IoU, either way, and others at random; the "
                        "number is A minus B in points. Teal: only A is right, orange: only B, violet: both are wrong.",
        "facts": [("A", [*_model_facts(a.results), *_evaluation_facts(a.results, data)]),
                  ("B", [*_model_facts(b.results), *_evaluation_facts(b.results, data)])],
    })


def _render(path: Path, template: Any, items: list[dict[str, Any]], views: list[dict[str, Any]],
            probes: list[tuple[str, str]], models: Sequence[str], found: Results, colours: list[str],
            context: dict[str, Any]) -> None:
    """Fills in the template with what both kinds of page have, and writes the file."""
    shown = ("name", "group", "size", "mIoU", "accuracy", "iou", "share")
    page = {"classes": found.classes, "colours": colours, "models": models, "views": views, "probes": probes,
            "wheel": pictures.jpeg(colour_wheel(WHEEL), 92),
            "items": [{key: item[key] for key in shown} for item in items]}
    counts = Counter(item["group"] for item in items)
    for item in items:
        item["json"] = _embedded({"layers": item["layers"], "flows": item["flows"]})
        item["label"] = _percent(item["mIoU"][0], 1) if len(models) == 1 else _signed(item["mIoU"][0] - item["mIoU"][1])
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


def _slide(title: str, left: tuple[str, str], right: tuple[str, str]) -> dict[str, Any]:
    """Returns a view of two layers, each (key, name), left and right of a line that can be moved."""
    return {"title": title, "kind": "slide", "left": left[0], "right": right[0], "names": [left[1], right[1]]}


def _over(title: str, layer: str, legend: Sequence[tuple[Sequence[int], str]]) -> dict[str, Any]:
    """Returns a view of one layer over the grey image, with the meaning of its colours."""
    return {"title": title, "kind": "over", "layer": layer, "legend": [(_rgb(rgb), text) for rgb, text in legend]}


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


def _lede(found: Results, draws: dict[str, np.ndarray]) -> str:
    bounds = results.interval(draws["mIoU"])
    between = f" (95 % interval {_percent(bounds[0], 1)} to {_percent(bounds[1], 1)})" if bounds else ""
    per_class = {name: value for name, value in found.scores["per_class_IoU"].items() if value is not None}
    extremes = ""
    if len(per_class) > 1:
        best, worst = max(per_class, key=per_class.__getitem__), min(per_class, key=per_class.__getitem__)
        extremes = f" It does best on {best} ({_percent(per_class[best], 1)} %) and worst on {worst} " \
                   f"({_percent(per_class[worst], 1)} %)."
    return (f"{_percent(found.scores['mIoU'], 1)} % mean IoU{between} over {len(per_class)} classes on "
            f"{_images(len(found.names))}.{extremes}")


def _verdict(test: Comparison, found: Results, data: Any) -> str:
    points = f"{_percent(abs(test.difference), 2)} points of mean IoU"
    seen = f"{'A' if test.difference > 0 else 'B'} is ahead by {points}" if test.difference else "A and B are level"
    sure = ("more than the choice of images explains" if test.p_value < 0.05 else
            "no more than the choice of images can explain")
    return (f"{seen} on {_images(len(found.names))} of {data.spec.title}, {sure} (95 % interval of A − B "
            f"{_signed(test.low, 2)} to {_signed(test.high, 2)}, permutation test p = {test.p_value:.2g}).")


def _figure(title: str, value: float | None, bounds: tuple[float, float] | None, note: str = "") -> dict[str, Any]:
    low, high = bounds if bounds and value is not None else (None, None)
    return {"title": title, "value": _percent(value, 2), "unit": "" if value is None else "%", "note": note,
            "meter": "range", "low": None if low is None else _percent(low, 1), "high": _percent(high, 1),
            **_places(value or 0, low or 0, high or 0)}


def _difference_figure(test: Comparison) -> dict[str, Any]:
    reach = 2.4 * max(0.001, abs(test.low), abs(test.high))
    return {"title": "A − B", "value": _signed(test.difference, 2), "unit": "points",
            "meter": f"diverging {'plus' if test.difference >= 0 else 'minus'}",
            "note": f"p = {test.p_value:.2g} (permutation)", "low": _signed(test.low, 2), "high": _signed(test.high, 2),
            **_places(*(value / reach for value in (test.difference, test.low, test.high)))}


def _category_figures(found: Results, data: Any) -> list[dict[str, Any]]:
    value, groups = found.scores.get("mean_category_IoU"), [label.category for label in data.spec.classes]
    if value is None:
        return []
    draws = results.resampled(results.grouped(found.matrices, groups))["mIoU"] if all(groups) else np.array([])
    return [_figure("Mean category IoU", value, results.interval(draws))]


def _class_rows(total: np.ndarray, draws: np.ndarray, classes: Sequence[str],
                colours: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes, best first and absent ones last."""
    ious, hits, truth, predicted = results.iou(total), total.diagonal(), total.sum(1), total.sum(0)
    rows = []
    for index in np.argsort(-ious, kind="stable"):          # NaN sorts last
        row: dict[str, Any] = {"name": classes[index], "colour": colours[index], "iou": None}
        bounds = results.interval(draws[:, index])
        if bounds:
            row |= {"iou": _percent(ious[index], 1), "low": _percent(bounds[0], 1), "high": _percent(bounds[1], 1),
                    "recall": _share(hits[index], truth[index]), "precision": _share(hits[index], predicted[index]),
                    "share": _share(truth[index], total.sum()), **_places(ious[index], *bounds)}
        rows.append(row)
    return rows


def _difference_rows(totals: Sequence[np.ndarray], draws: Sequence[np.ndarray], classes: Sequence[str],
                     colours: list[str]) -> list[dict[str, Any]]:
    """Returns the table of classes, those on which A leads most first and those without an IoU last."""
    ours, theirs = (results.iou(total) for total in totals)
    between = [results.interval(draws[0][:, index] - draws[1][:, index]) for index in range(len(classes))]
    reach = 2.1 * max([0.005, *(abs(bound) for bounds in between if bounds for bound in bounds)])
    rows = []
    for index in np.argsort(theirs - ours, kind="stable"):
        row: dict[str, Any] = {"name": classes[index], "colour": colours[index], "difference": None,
                               "a": _percent(ours[index], 1), "b": _percent(theirs[index], 1)}
        bounds = between[index]
        if bounds and not np.isnan(ours[index] - theirs[index]):
            difference = ours[index] - theirs[index]
            row |= {"difference": _signed(difference), "low": _signed(bounds[0]), "high": _signed(bounds[1]),
                    **_places(difference / reach, bounds[0] / reach, bounds[1] / reach)}
        rows.append(row)
    return rows


def _matrix(total: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of the heat map; an empty cell says nothing, so that many classes stay a small file."""
    from markupsafe import Markup
    rows = []
    for truth, counts in enumerate(total.tolist()):
        whole, cells = sum(counts), []
        for predicted, count in enumerate(counts):
            share = count / whole if whole else 0
            strength = round(100 * share ** 0.5)
            kinds = " ".join(["d"] * (truth == predicted) + ["on"] * (strength > 62))
            attributes = (f' class="{kinds}"' if kinds else "") + (
                f' data-n="{count}" style="--v:{strength}"' if count else "")
            cells.append({"attributes": Markup(attributes), "text": f"{100 * share:.0f}" if share >= 0.005 else ""})
        rows.append({"name": classes[truth], "cells": cells})
    return rows


def _lost(total: np.ndarray, classes: Sequence[str], colours: list[str], most: int = 8) -> list[dict[str, Any]]:
    """Returns the confusions that cost most pixels."""
    wrong = total * ~np.eye(len(total), dtype=bool)
    pairs = [divmod(int(place), len(total)) for place in np.argsort(-wrong, axis=None, kind="stable")[:most]]
    return [{"truth": classes[truth], "from_colour": colours[truth], "predicted": classes[predicted],
             "to_colour": colours[predicted], "share": _share(wrong[truth, predicted], total.sum(), 2)}
            for truth, predicted in pairs if wrong[truth, predicted]]


def _model_facts(found: Results) -> list[tuple[str, str]]:
    environment = found.run / "env.json" if found.run else None
    trained = json.loads(environment.read_text()) if environment and environment.is_file() else {}
    facts = [("Network", found.scores["arch"]), ("Snapshot", found.settings.get("snapshot", "")),
             ("SHA-256", found.scores["snapshot_sha256"][:16] + "…"), ("Weights", found.settings.get("weights", "")),
             ("Trained at commit", (trained.get("commit") or "")[:12]), ("Trained on", trained.get("device", ""))]
    return [(term, str(value)) for term, value in facts if value]


def _evaluation_facts(found: Results, data: Any) -> list[tuple[str, str]]:
    settings = found.settings
    names = {"data_root": "Data", "inference_mode": "Windows", "crop_size": "Crop", "sliding_overlap": "Overlap",
             "scales": "Scales", "flip": "Mirrored", "average": "Average of", "precision": "Precision",
             "device": "Device", "torch": "torch", "commit": "At commit"}
    facts = [("Images", f"{len(found.names):,} of {data.spec.title} {settings['split']}"),
             ("Pixels", f"{int(found.matrices.sum()):,} counted")]
    return facts + [(title, _plain(settings[name])) for name, title in names.items() if settings.get(name) is not None]


def _further_scores(found: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns the scores that only some evaluations have, as groups of facts."""
    categories = {name: f"{_percent(value)} %" for name, value in found.scores.get("per_category_IoU", {}).items()}
    outlines = {f"within {threshold}": f"{_percent(value['mean'])} %, of classes that are there "
                                       f"{_percent(value['mean_present'])} %"
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


def _colours(data: Any) -> list[str]:
    return [_rgb(colour) for colour in data.spec.palette[:len(data.spec.names)].tolist()]


def _rgb(colour: Sequence[int]) -> str:
    return f"rgb({colour[0]} {colour[1]} {colour[2]})"


def _places(at: float, low: float, high: float) -> dict[str, float]:
    return {"at": round(100 * float(at), 2), "from": round(100 * float(low), 2), "to": round(100 * float(high), 2)}


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}"


def _signed(value: float, digits: int = 1) -> str:
    text = f"{abs(100 * value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def _share(part: float, whole: float, digits: int = 1) -> str:
    return _percent(part / whole if whole else None, digits)
