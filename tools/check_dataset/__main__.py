"""Reads every file of a dataset: `python -m tools.check_dataset --dataset D --data_root R`."""
from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2

import datasets
from datasets.listing import IMAGE_SUFFIXES, list_split
from datasets.loader import default_workers, load_items
from datasets.spec import DatasetError, DatasetSpec
from tools.check_dataset.inspection import (
    Inspection,
    Problem,
    Summary,
    class_problems,
    pairing_problems,
    repeated_names,
    unlabeled_pixels,
)
from tools.check_dataset.report import as_json, class_weights, describe, describe_unmapped
from tools.check_dataset.sheet import draw_sheet
from utils.cli import FlagParser, positive_int, run_program
from utils.files import make_folder, write_text
from utils.logs import track
from utils.visualization import label_maps

log = logging.getLogger("check_dataset")

ALL = "all"
REQUIRED_SPLITS = ("train", "val")


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.check_dataset",
        description="Read every file of a dataset and list all problems. Exit code: 0 without "
        "problems, 1 with problems, 2 if the dataset cannot be checked.")
    data = parser.add_argument_group("Data")
    data.add_argument("--dataset", default="streets", help=datasets.help_text())
    data.add_argument(
        "--data_root", help="folder that holds the dataset, laid out as in DATASETs.md")
    data.add_argument(
        "--split", nargs="+", default=[ALL], metavar="SPLIT",
        help="splits to check; all for those that exist, without trainval and cross-validation")
    data.add_argument(
        "--num_workers", type=int, default=default_workers(), help="processes that read files")
    output = parser.add_argument_group("Output")
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results, with every problem")
    output.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="write median-frequency weights of the classes for --class_weights of train.py, from "
        "train or the first split that is checked")
    output.add_argument("--sheet", type=Path, metavar="FILE.png",
                        help="write one picture with overlays of labels on images")
    output.add_argument("--sheet_images", type=positive_int, default=12,
                        help="number of overlays, spread evenly over the splits")
    return parser


def check(args: Namespace) -> int:
    """Checks the splits and writes the reports; returns the number of problems.

    Raises:
        ValueError, OSError: the dataset cannot be checked.
    """
    if args.sheet and args.sheet.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"--sheet {args.sheet}: the name of a picture ends in one of "
                         f"{', '.join(IMAGE_SUFFIXES)}.")
    spec = datasets.spec(args.dataset)
    root = args.data_root or spec.root
    if root is None:
        raise DatasetError(f"{spec.title} needs --data_root: {spec.hint} (see DATASETs.md).")
    for split in args.split:
        if split != ALL:
            spec.require(split)
    summaries: dict[str, Summary] = {}
    valid: dict[str, list[datasets.Sample]] = {}
    errors: dict[str, str] = {}
    for split in chosen_splits(spec, args.split):
        try:
            summaries[split], valid[split] = check_split(
                spec, Path(root).expanduser(), split, args.num_workers)
        except (FileNotFoundError, DatasetError) as error:
            errors[split] = str(error)
            continue
        log.info("%s\n", describe(spec, split, summaries[split]))
    if not summaries:
        raise FileNotFoundError(next(iter(errors.values())))
    missing = missing_splits(errors, args.split)
    of_classes = class_problems(spec, summaries)
    for problem in of_classes:
        log.info("PROBLEM: %s: %s\n", problem.kind, problem.message)
    if to_ignore := describe_unmapped(spec, summaries.values()):
        log.info("%s\n", to_ignore)
    num_problems = len(missing) + len(of_classes)
    num_problems += sum(len(summary.problems) for summary in summaries.values())
    write_reports(args, spec, str(root), summaries, valid, missing, of_classes)
    plural = "s" if num_problems > 1 else ""
    log.info("%s: %s", spec.title,
             f"{num_problems} problem{plural}" if num_problems else "no problems")
    return num_problems


def chosen_splits(spec: DatasetSpec, splits: Sequence[str]) -> list[str]:
    """Returns the splits to check; for "all", those that are not made up of others."""
    if ALL not in splits:
        return [*dict.fromkeys(splits)]
    return [split for split in spec.splits if split != "trainval" and "_cv" not in split]


def check_split(spec: DatasetSpec, root: Path, split: str,
                num_workers: int) -> tuple[Summary, list[datasets.Sample]]:
    """Reads every file of a split; returns its summary, and the labeled samples without problems.

    Raises:
        FileNotFoundError: the split has no images.
        DatasetError: the split is unknown, or does not fit the files.
    """
    listing = list_split(spec, root, split)
    unlabeled = [sample._replace(label=None) for sample in listing.missing_labels]
    samples = [*listing.samples, *unlabeled]
    if split in spec.unlabeled:
        samples = [sample._replace(label=None) for sample in samples]
    summary = Summary()
    summary.problems += pairing_problems(listing) + repeated_names(samples)
    findings = load_items(Inspection(samples), num_workers, range(len(samples)))
    valid = []
    progress = track(findings, len(samples), f"{spec.name} {split}")
    for sample, finding in zip(samples, progress, strict=True):
        summary.add(sample, finding)
        if sample.label is not None and not finding.problems:
            valid.append(sample)
    if split not in spec.unlabeled:
        summary.problems += unlabeled_pixels(spec, split, summary)
    return summary, valid


def missing_splits(errors: dict[str, str], splits: Sequence[str]) -> list[Problem]:
    """Returns and logs the splits that could not be listed; only required ones are problems.

    Args:
        errors: split -> error message.
        splits: value of `--split`. A split that it names is required.
    """
    missing = []
    for split, message in errors.items():
        if split in REQUIRED_SPLITS or ALL not in splits:
            missing.append(Problem("split that is missing", split, message))
            log.info("%s: %s\n", split, message)
        else:
            log.info("%s: missing\n", split)
    return missing


def write_reports(args: Namespace, spec: DatasetSpec, root: str, summaries: dict[str, Summary],
                  valid: dict[str, list[datasets.Sample]], missing: list[Problem],
                  of_classes: list[Problem]) -> None:
    """Writes the files that the flags ask for."""
    if args.json:
        report = {"dataset": spec.name,
                  "title": spec.title,
                  "root": root,
                  "classes": [*spec.names],
                  "splits": {split: as_json(spec, split, summary)
                             for split, summary in summaries.items()},
                  "missing_splits": [problem._asdict() for problem in missing],
                  "class_problems": [problem._asdict() for problem in of_classes]}
        save(args.json, "--json", json.dumps(report, indent=1) + "\n", "results")
    if args.weights:
        write_weights(args.weights, spec, summaries)
    if args.sheet and any(valid.values()):
        make_folder(args.sheet.parent, "--sheet")
        label_maps.write(args.sheet, draw_sheet(spec, valid, args.sheet_images))
        log.info("overlays in %s", args.sheet)
    elif args.sheet:
        log.warning("no overlays: there is no pair without problems")


def write_weights(path: Path, spec: DatasetSpec, summaries: dict[str, Summary]) -> None:
    """Writes the class weights of train, or else of the first split with labels."""
    labeled = [split for split in summaries if split not in spec.unlabeled]
    if not labeled:
        log.warning("no class weights: none of the splits has labels")
        return
    split = "train" if "train" in labeled else labeled[0]
    weights = class_weights(spec, summaries[split])
    save(path, "--weights", json.dumps(weights, indent=1) + "\n", f"class weights of {split}")
    absent = [name for train_id, name in enumerate(spec.names)
              if not summaries[split].images[train_id]]
    if absent:
        log.warning("weight 1 for classes that %s does not contain: %s", split, ", ".join(absent))


def save(path: Path, flag: str, text: str, description: str) -> None:
    make_folder(path.parent, flag)
    write_text(path, text)
    log.info("%s in %s", description, path)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    # the worker processes are the parallelism
    cv2.setNumThreads(0)
    return run_program("tools.check_dataset", partial(run, args))


def run(args: Namespace) -> int:
    """Returns the exit code."""
    return 1 if check(args) else 0


if __name__ == "__main__":
    sys.exit(main())
