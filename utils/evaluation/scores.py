"""The scores of an evaluation, from the records of its images: as JSON, as a table, and held to a number."""
from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.evaluation.boundary import mean_scores
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.records import Record, Records
from utils.evaluation.statistics import bootstrap
from utils.files import write_text

log = logging.getLogger(__name__)

SCORES = "scores.json"                                     # in the output folder
HEADLINES = (("mIoU", "mIoU"), ("mean_category_IoU", "mean category IoU"), ("pixel_accuracy", "pixel accuracy"),
             ("mean_accuracy", "mean accuracy"), ("fwIoU", "frequency-weighted IoU"))
COLUMNS = (("IoU", "per_class_IoU"), ("precision", "per_class_precision"), ("recall", "per_class_recall"),
           ("F1", "per_class_F1"))


def add_flags(group: argparse._ActionsContainer) -> None:
    """Declares where scores go and what they must be."""
    group.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file")
    group.add_argument("--expect", type=_fraction, metavar="MIOU",
                       help="exit with status 1 unless the mean IoU is this, a fraction such as 0.785")
    group.add_argument("--tolerance", type=_fraction, default=0.002, help="how far from --expect it may be")


def summarize(records: Sequence[Record], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every score, null where one is undefined.

    Args:
        records: of all images, whose truths are known.
        run: what `Records` was given; of it `classes`, `categories` and `thresholds` are read.
    """
    matrices = np.stack([record.matrix for record in records])
    matrix = ConfusionMatrix(len(run["classes"]))
    matrix.matrix += torch.from_numpy(matrices.sum(0, dtype=np.int64))
    scores = matrix.summary(run["classes"], run.get("categories"))
    scores["mIoU_interval"] = list(bootstrap(matrices)) if matrix.pixels else None
    if run.get("thresholds"):
        boundaries = np.stack([np.asarray(record.boundary) for record in records])
        scores["boundary_F"] = mean_scores(boundaries, run["thresholds"], run["classes"])
    return {**scores, "images": len(records)}


def report_scores(records: Records, found: Sequence[Record], json_file: Path | None, expect: float | None,
             tolerance: float) -> bool:
    """Prints the scores of a finished evaluation, writes them into its folder and to `json_file`; returns whether they
    are `as_expected`.
    """
    run = records.run
    scores = {**summarize(found, run), "arch": run["arch"], "snapshot_sha256": run["snapshot_sha256"],
              "settings": records.settings}
    say(scores)
    write(scores, records.folder / SCORES, json_file)
    return as_expected(scores, expect, tolerance)


def table(scores: Mapping[str, Any]) -> str:
    """Returns a line a class: IoU, precision, recall, F1 and the share of the counted pixels, in %; then the means."""
    names = list(scores["per_class_IoU"])
    groups = scores.get("per_category_IoU", {})
    width = max(map(len, (*names, *groups, "category")))
    pixels = {name: sum(row) / max(1, scores["pixels"])
              for name, row in zip(names, scores["confusion_matrix"], strict=True)}
    columns = [*((title, scores[key]) for title, key in COLUMNS), ("pixels", pixels)]
    lines = [f"{'class':{width}}" + "".join(f"  {title:>9}" for title, _ in columns)]
    lines += [f"{name:{width}}" + "".join(f"  {_percent(values[name]):>9}" for _, values in columns) for name in names]
    if groups:
        lines += ["", f"{'category':{width}}  {'IoU':>9}"]
        lines += [f"{name:{width}}  {_percent(value):>9}" for name, value in groups.items()]
    return "\n".join(lines)


def say(scores: Mapping[str, Any]) -> None:
    """Prints the table and the means."""
    log.info("\n%s\n", table(scores))
    for name, title in HEADLINES:
        if name in scores:
            between = ""
            if name == "mIoU" and scores["mIoU_interval"]:
                low, high = scores["mIoU_interval"]
                between = f"  (95 % of redrawn sets of images: {100 * low:.2f} to {100 * high:.2f})"
            unit = "" if scores[name] is None else " %"
            log.info("%-22s  %s%s%s", title, _percent(scores[name]), unit, between)
    for threshold, found in scores.get("boundary_F", {}).items():
        log.info("%-22s  %s %%, of classes that are there %s %%", f"boundary F at {threshold}",
                 _percent(found["mean"]), _percent(found["mean_present"]))


def write(scores: Mapping[str, Any], *paths: Path | None) -> None:
    """Writes the scores to each path that is not None; makes their folders."""
    for path in filter(None, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(scores, indent=2) + "\n")
        log.info("scores in %s", path)


def as_expected(scores: Mapping[str, Any], expect: float | None, tolerance: float) -> bool:
    """Whether the mean IoU is within the tolerance of what was expected, if anything was; says so."""
    if expect is None:
        return True
    found = scores["mIoU"]
    met = found is not None and abs(found - expect) <= tolerance + 1e-9
    (log.info if met else log.error)(
        "mIoU %s %% %s the expected %.2f %% (give or take %.2f)", _percent(found),
        "is" if met else "is NOT", 100 * expect, 100 * tolerance)
    return met


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction from 0 to 1: write 78.5 % as 0.785")
    return value
