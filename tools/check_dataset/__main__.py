"""Looks at every file of a dataset before a run does: `python -m tools.check_dataset --dataset D --data_root R`."""
from __future__ import annotations

import json
import logging
import sys
import textwrap
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import datasets
from datasets.listing import IMAGE_SUFFIXES, list_split
from datasets.loader import default_workers, label_loader
from datasets.reader import read_train_ids
from datasets.spec import UNKNOWN, DatasetError, DatasetSpec
from tools.check_dataset.inspection import (
    Inspection,
    Problem,
    Summary,
    pairing_problems,
    repeated_names,
)
from utils import IGNORE_LABEL
from utils.cli import FlagParser, positive_int
from utils.files import write_text
from utils.logs import start_logging, track
from utils.visualization import label_maps

log = logging.getLogger("check_dataset")

ALL = "all"
SAID_OF_A_KIND = 3                                          # problems of one kind that are printed; --json has all
THUMBNAIL = 480                                             # width of a picture of the sheet


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.check_dataset", description="Look at every file of a dataset. Exit "
                        "status: 0 when nothing is wrong, 1 when something is, 2 when it could not be looked at.")
    data = parser.add_argument_group("Data")
    data.add_argument("--dataset", default="streets", help=datasets.help_text())
    data.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    data.add_argument("--split", nargs="+", default=[ALL], metavar="SPLIT",
                      help="splits to look at; all takes those that are there, without sums and cross-validation")
    data.add_argument("--num_workers", type=int, default=default_workers(), help="processes that read files")
    output = parser.add_argument_group("Output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write all that was found, every problem included")
    output.add_argument("--weights", type=Path, metavar="FILE", help="write median-frequency weights of the classes, "
                        "for --class_weights of train.py: those of train, or of the first split that is looked at")
    output.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw labels over images, on one picture")
    output.add_argument("--sheet_images", type=positive_int, default=12, help="how many, evenly over the splits")
    return parser


def chosen_splits(spec: DatasetSpec, wanted: Sequence[str]) -> list[str]:
    """Returns the splits to look at; all are those that are neither sums nor cross-validation splits of others."""
    if ALL not in wanted:
        return [*dict.fromkeys(wanted)]
    return [split for split in spec.splits if split != "trainval" and "_cv" not in split]


def check_split(spec: DatasetSpec, root: Path, split: str, workers: int) -> tuple[Summary, list[datasets.Sample]]:
    """Reads every file of a split; returns what is in them, and the samples with a label in which nothing is wrong.

    Raises:
        FileNotFoundError: there is no image of it.
        DatasetError: there is no such split, or it does not fit what is there.
    """
    listing = list_split(spec, root, split)
    samples = [*listing.samples, *(sample._replace(label=None) for sample in listing.missing_labels)]
    if split in spec.unlabelled:
        samples = [sample._replace(label=None) for sample in samples]
    summary, sound = Summary(), []
    summary.problems += pairing_problems(listing) + repeated_names(samples)
    loader = label_loader(Inspection(samples), workers, range(len(samples)))
    for sample, finding in zip(samples, track(loader, len(samples), f"{spec.name} {split}"), strict=True):
        summary.add(sample, finding)
        if sample.label is not None and not finding.problems:
            sound.append(sample)
    return summary, sound


def describe(spec: DatasetSpec, split: str, summary: Summary) -> str:
    """Returns what is in a split, as people read it."""
    sizes = summary.sizes.most_common()
    said = ", ".join(f"{count} of {height}x{width}" for (height, width), count in sizes[:5])
    more = f" and {len(sizes) - 5} more sizes" if len(sizes) > 5 else ""
    lines = [f"{split}: {summary.sizes.total()} images that can be read ({said}{more})"]
    if summary.counted:
        width = max(map(len, spec.names))
        weights = summary.weights(spec.num_classes)
        lines.append(f"  {'class':{width}}   pixels   images  median-frequency weight")
        for train_id, name in enumerate(spec.names):
            lines.append(f"  {name:{width}}  {percent(summary.share(train_id)):>7}  {summary.images[train_id]:>7}  "
                         f"{weights[train_id]:.3f}" + ("" if summary.images[train_id] else "  (nowhere)"))
        lines.append(f"  ignored {percent(summary.share(IGNORE_LABEL))} of all pixels, "
                     f"unmapped {percent(summary.share(UNKNOWN))}")
    tables: dict[str, list[str]] = defaultdict(list)
    for table, raw_id, pixels, _ in summary.by_raw_id():
        tables[table.title].append(f"{table.describe(raw_id)}: {pixels:,}")
    for title, entries in tables.items():
        head = "raw " + ("colors" if spec.colors else "ids") + (f" of {title}" if len(tables) > 1 else "")
        lines += textwrap.wrap(f"{head} and their pixels: {'; '.join(entries)}", 118, initial_indent="  ",
                               subsequent_indent="    ", break_on_hyphens=False)
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in summary.problems:
        kinds[problem.kind].append(problem)
    for kind, problems in kinds.items():
        lines.append(f"  PROBLEM: {kind}: {len(problems)}")
        lines += [f"    {problem.message}" for problem in problems[:SAID_OF_A_KIND]]
        if len(problems) > SAID_OF_A_KIND:
            lines.append(f"    and {len(problems) - SAID_OF_A_KIND} more (--json FILE has them all)")
    return "\n".join(lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def as_json(spec: DatasetSpec, split: str, summary: Summary) -> dict[str, Any]:
    """Returns what is in a split, in JSON types."""
    names = {**dict(enumerate(spec.names)), IGNORE_LABEL: "ignored", UNKNOWN: "unmapped"}
    return {
        "images": summary.sizes.total(), "labelled": split not in spec.unlabelled,
        "sizes": {f"{height}x{width}": count for (height, width), count in summary.sizes.most_common()},
        "raw_ids": [{"table": table.title, "raw": table.describe(raw_id), "pixels": pixels, "images": images,
                     "class": names[table.table.get(raw_id, UNKNOWN)]}
                    for table, raw_id, pixels, images in summary.by_raw_id()],
        "class_pixels": {name: summary.pixels[train_id] for train_id, name in names.items()},
        "class_images": {name: summary.images[train_id] for train_id, name in names.items()},
        "class_weights": class_weights(spec, summary),
        "problems": [problem._asdict() for problem in summary.problems],
    }


def class_weights(spec: DatasetSpec, summary: Summary) -> dict[str, float]:
    return dict(zip(spec.names, (round(weight, 6) for weight in summary.weights(spec.num_classes)), strict=True))


def draw_sheet(spec: DatasetSpec, sound: dict[str, list[datasets.Sample]], images: int) -> np.ndarray:
    """Returns one picture of overlays, evenly chosen from the splits, above a legend of their classes."""
    splits = [split for split, samples in sound.items() if samples]
    titled, counts = [], Counter[int]()
    for place, split in enumerate(splits):
        share = images // len(splits) + (place < images % len(splits))
        samples = sound[split]
        for index in np.linspace(0, len(samples) - 1, min(share, len(samples))).round().astype(int).tolist():
            sample = samples[index]
            assert sample.label is not None
            labels = read_train_ids(sample.label, sample.table)
            image = datasets.read_image(sample.image)
            counts.update(np.unique(labels).tolist())
            titled.append((f"{split}: {sample.name}", shown(image, labels, spec.palette)))
    height = max(picture.shape[0] for _, picture in titled)
    framed = [(title, cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, 0, cv2.BORDER_CONSTANT,
                                         value=label_maps.BACKGROUND)) for title, picture in titled]
    grid = label_maps.panels(framed, columns=min(4, len(framed)))
    present = [(spec.names[train_id], spec.palette[train_id]) for train_id in sorted(counts) if train_id < UNKNOWN]
    return np.concatenate([grid, label_maps.legend(present, grid.shape[1])])


def shown(image: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns the overlay at the width of a thumbnail, and at most as high."""
    scale = min(THUMBNAIL / image.shape[1], THUMBNAIL / image.shape[0])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    shrunk = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    classes = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    picture = label_maps.overlay(shrunk, classes, palette)
    return cv2.copyMakeBorder(picture, 0, 0, 0, THUMBNAIL - width, cv2.BORDER_CONSTANT, value=label_maps.BACKGROUND)


def check(args: Namespace) -> int:
    """Looks at the splits and reports; returns how many problems there are.

    Raises:
        ValueError, OSError: it could not be looked at; the message says why.
    """
    if args.sheet and args.sheet.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"--sheet {args.sheet}: a picture's name ends in one of {', '.join(IMAGE_SUFFIXES)}.")
    spec = datasets.spec(args.dataset)
    root = args.data_root or spec.root
    if root is None:
        raise DatasetError(f"{spec.title} needs --data_root: {spec.hint} (see DATASETs.md).")
    for split in args.split:
        if split != ALL:
            spec.require(split)
    summaries: dict[str, Summary] = {}
    sound: dict[str, list[datasets.Sample]] = {}
    absent: dict[str, str] = {}
    for split in chosen_splits(spec, args.split):
        try:
            summaries[split], sound[split] = check_split(spec, Path(root).expanduser(), split, args.num_workers)
        except (FileNotFoundError, DatasetError) as error:
            absent[split] = str(error)
            continue
        log.info("%s\n", describe(spec, split, summaries[split]))
    if not summaries:
        raise FileNotFoundError(next(iter(absent.values())))
    missing = [Problem("split that is not there", split, message) for split, message in absent.items()
               if split in ("train", "val") or ALL not in args.split]
    for split, message in absent.items():
        log.info("%s: %s\n", split, message if any(split == one.file for one in missing) else "not there")
    problems = sum(len(summary.problems) for summary in summaries.values()) + len(missing)
    write_reports(args, spec, str(root), summaries, sound, missing)
    log.info("%s: %s", spec.title, f"{problems} problem{'s' * (problems > 1)}" if problems else "nothing is wrong")
    return problems


def write_reports(args: Namespace, spec: DatasetSpec, root: str, summaries: dict[str, Summary],
                  sound: dict[str, list[datasets.Sample]], missing: list[Problem]) -> None:
    """Writes the files that the flags ask for."""
    labelled = [split for split in summaries if split not in spec.unlabelled]
    if args.json:
        found = {"dataset": spec.name, "title": spec.title, "root": root, "classes": [*spec.names],
                 "splits": {split: as_json(spec, split, summary) for split, summary in summaries.items()},
                 "missing_splits": [problem._asdict() for problem in missing]}
        save(args.json, json.dumps(found, indent=1) + "\n", "what was found")
    if args.weights and not labelled:
        log.warning("no class weights: none of the splits has labels")
    elif args.weights:
        split = "train" if "train" in labelled else labelled[0]
        weights = class_weights(spec, summaries[split])
        save(args.weights, json.dumps(weights, indent=1) + "\n", f"class weights of {split}")
        nowhere = [name for train_id, name in enumerate(spec.names) if not summaries[split].images[train_id]]
        if nowhere:
            log.warning("weight 1 for what %s does not hold: %s", split, ", ".join(nowhere))
    if args.sheet and any(sound.values()):
        label_maps.write(args.sheet, draw_sheet(spec, sound, args.sheet_images))
        log.info("a sheet of overlays in %s", args.sheet)
    elif args.sheet:
        log.warning("no sheet of overlays: there is no pair in which nothing is wrong")


def save(path: Path, text: str, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    log.info("%s in %s", what, path)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    cv2.setNumThreads(0)                                    # the workers are the parallelism
    try:
        return 1 if check(args) else 0
    except (ValueError, OSError) as error:
        log.error("tools.check_dataset: error: %s", error)
        return 2
    except RuntimeError as error:                           # of a loader whose worker was killed
        log.error("tools.check_dataset: error: %s. Was the memory too small? Try --num_workers 0.", error)
        return 2
    except KeyboardInterrupt:
        log.error("tools.check_dataset: interrupted; nothing was written")
        return 130


if __name__ == "__main__":
    sys.exit(main())
