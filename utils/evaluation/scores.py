"""The scores of an evaluation: computed from its records, written as JSON, printed as a table."""
from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.evaluation import calibration, trimap
from utils.evaluation.boundary import mean_scores
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.records import Record, Records
from utils.evaluation.statistics import bootstrap
from utils.files import require_no_folder, write_text
from utils.visualization import reliability

log = logging.getLogger(__name__)

# in the output folder
SCORES, DIAGRAM = "scores.json", "calibration.png"
# (key in scores.json, title)
HEADLINES = (("mIoU", "mIoU"), ("mean_category_IoU", "mean category IoU"),
             ("pixel_accuracy", "pixel accuracy"), ("mean_accuracy", "mean accuracy"),
             ("fwIoU", "frequency-weighted IoU"))
# (title, key in scores.json)
COLUMNS = (("IoU", "per_class_IoU"), ("precision", "per_class_precision"),
           ("recall", "per_class_recall"), ("F1", "per_class_F1"))


@dataclass(frozen=True)
class ScoreOptions:
    """Where scores are written, and which mean IoU is expected.

    Args:
        json_file: file for the scores, besides that in the output folder.
        expect: expected mean IoU, in [0, 1].
        tolerance: largest accepted difference to it, in [0, 1].

    Raises:
        ValueError: a value is out of range.
    """

    json_file: Path | None = None
    expect: float | None = None
    tolerance: float = 0.002

    def __post_init__(self) -> None:
        for flag, value in (("--expect", self.expect), ("--tolerance", self.tolerance)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{flag} {value} is not a fraction from 0 to 1: write 78.5 % as "
                                 "0.785")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> ScoreOptions:
        """Reads the flags of `add_flags`."""
        if args.json:
            require_no_folder(args.json, "--json")
        return cls(args.json, args.expect, args.tolerance)


def add_flags(group: argparse._ActionsContainer) -> None:
    """Declares the flags of `ScoreOptions`."""
    group.add_argument("--json", type=Path, metavar="FILE",
                       help="also write the scores to this file")
    group.add_argument("--expect", type=_fraction, metavar="MIOU",
                       help="exit with status 1 unless the mean IoU is this fraction, such as "
                            "0.785")
    group.add_argument("--tolerance", type=_fraction, default=0.002,
                       help="largest accepted difference to --expect")


def summarize(records: Sequence[Record], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every score in JSON types, None where a score is undefined.

    Args:
        records: results of all images of a split with labels.
        run: as given to `Records`; `classes`, `categories`, `thresholds`, `groups`, `trimap` and
            `temperature` are read. The last two are there if borders and the calibration were
            scored.
    """
    matrices = np.stack([record.matrix for record in records])
    matrix = ConfusionMatrix(len(run["classes"]))
    matrix.add(torch.from_numpy(matrices.sum(0, dtype=np.int64)))
    scores = matrix.summary(run["classes"], run.get("categories"))
    groups = run.get("groups")
    scores["mIoU_interval"] = list(bootstrap(matrices, groups=groups)) if matrix.pixels else None
    # number of the groups of images that were drawn, missing if single images were
    if groups:
        scores["mIoU_interval_groups"] = len(set(groups))
    if run.get("thresholds"):
        boundaries = np.stack([np.asarray(record.boundary) for record in records])
        scores["boundary_F"] = mean_scores(boundaries, run["thresholds"], run["classes"])
    if run.get("trimap"):
        border = np.stack([np.asarray(record.border) for record in records]).sum(0, dtype=np.int64)
        scores["trimap"] = trimap.summarize(matrix.matrix.numpy(), border, run["classes"],
                                            run["trimap"])
    if run.get("temperature"):
        counts = np.sum([np.asarray(record.calibration) for record in records], axis=0)
        scores["calibration"] = calibration.summarize(counts, run["temperature"])
    return {**scores, "images": len(records)}


def report_scores(records: Records, results: Sequence[Record], options: ScoreOptions) -> bool:
    """Prints the scores of a finished evaluation, and writes them to its folder.

    Args:
        results: results of all images.

    Returns:
        Whether the mean IoU is as expected, see `is_as_expected`.
    """
    run = records.run
    scores = {**summarize(results, run), "arch": run["arch"],
              "snapshot_sha256": run["snapshot_sha256"], "settings": records.settings}
    print_scores(scores)
    write_scores(scores, records.folder / SCORES)
    if "calibration" in scores:
        reliability.write(records.folder / DIAGRAM, scores["calibration"])
        log.info("reliability diagram in %s", records.folder / DIAGRAM)
    if options.json_file is not None:
        write_scores(scores, options.json_file)
    return is_as_expected(scores["mIoU"], options)


def format_table(scores: Mapping[str, Any]) -> str:
    """Formats the scores of the classes and categories, in %.

    A class has a line with IoU, precision, recall, F1 and its fraction of the labeled pixels.
    """
    names = list(scores["per_class_IoU"])
    categories = scores.get("per_category_IoU", {})
    width = max(map(len, (*names, *categories, "category")))
    rows = zip(names, scores["confusion_matrix"], strict=True)
    pixels = {name: sum(row) / max(1, scores["pixels"]) for name, row in rows}
    columns = [*((title, scores[key]) for title, key in COLUMNS), ("pixels", pixels)]
    lines = [f"{'class':{width}}" + "".join(f"  {title:>9}" for title, _ in columns)]
    for name in names:
        cells = "".join(f"  {_percent(values[name]):>9}" for _, values in columns)
        lines.append(f"{name:{width}}{cells}")
    if categories:
        lines += ["", f"{'category':{width}}  {'IoU':>9}"]
        lines += [f"{name:{width}}  {_percent(iou):>9}" for name, iou in categories.items()]
    return "\n".join(lines)


def print_scores(scores: Mapping[str, Any]) -> None:
    """Prints the table of classes and the means."""
    log.info("\n%s\n", format_table(scores))
    for name, title in HEADLINES:
        if name not in scores:
            continue
        interval = ""
        if name == "mIoU" and scores["mIoU_interval"]:
            low, high = scores["mIoU_interval"]
            groups = scores.get("mIoU_interval_groups")
            over = f" over {groups} groups of images" if groups else ""
            interval = f"  (95 % bootstrap interval{over}: {100 * low:.2f} to {100 * high:.2f})"
        unit = "" if scores[name] is None else " %"
        log.info("%-22s  %s%s%s", title, _percent(scores[name]), unit, interval)
    for threshold, means in scores.get("boundary_F", {}).items():
        log.info("%-22s  %s %%, of present classes %s %%", f"boundary F at {threshold}",
                 _percent(means["mean"]), _percent(means["mean_present"]))
    if "trimap" in scores:
        print_trimap(scores["trimap"])
    if "calibration" in scores:
        print_calibration(scores["calibration"])


def print_trimap(summary: Mapping[str, Any]) -> None:
    """Prints the mean IoU near class borders and away from them, of thin and of large classes."""
    log.info("%-22s  %s %%  (%s %% of the pixels, within %d of a class border)", "mIoU at borders",
             _percent(summary["border"]["mIoU"]), _percent(summary["share"]), summary["width"])
    log.info("%-22s  %s %%", "mIoU of the interior", _percent(summary["interior"]["mIoU"]))
    for group in ("thin", "large"):
        log.info("%-22s  %s %%  (%s)", f"mIoU, {group} classes", _percent(summary[group]["mIoU"]),
                 ", ".join(summary[group]["classes"]) or "none")


def print_calibration(summary: Mapping[str, Any]) -> None:
    """Prints the calibration error, and how many pixels hold most of the errors."""
    log.info("%-22s  %s %%  (15 bins, temperature %.3f)", "calibration error",
             _percent(summary["ECE"]), summary["temperature"])
    log.info("%-22s  %s %% of the pixels, the least confident, hold 90 %% of the errors", "review",
             _percent(summary["review"]))


def write_scores(scores: Mapping[str, Any], path: Path) -> None:
    """Writes the scores as JSON; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(scores, indent=2) + "\n")
    log.info("scores in %s", path)


def is_as_expected(mean_iou: float | None, options: ScoreOptions) -> bool:
    """Returns whether the mean IoU is within the tolerance of the expected one; logs the answer.

    Without an expected mean IoU the answer is True.
    """
    if options.expect is None:
        return True
    # the margin is for the rounding of decimal fractions
    tolerance = options.tolerance + 1e-9
    as_expected = mean_iou is not None and abs(mean_iou - options.expect) <= tolerance
    message = (f"the expected {100 * options.expect:.2f} % "
               f"(tolerance {100 * options.tolerance:.2f})")
    if as_expected:
        log.info("mIoU %s %% is %s", _percent(mean_iou), message)
    else:
        log.error("mIoU %s %% is NOT %s", _percent(mean_iou), message)
    return as_expected


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction from 0 to 1: write 78.5 % as "
                                         "0.785")
    return value
