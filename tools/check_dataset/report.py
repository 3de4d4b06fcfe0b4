"""The summary of a split as text and as JSON."""
from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from datasets.spec import UNKNOWN, DatasetSpec
from tools.check_dataset.inspection import Problem, Summary
from utils import IGNORE_LABEL

MAX_PRINTED = 3             # problems of one kind that are printed; the JSON file has all of them
MAX_IGNORED = 100           # more unmapped ids than these are no ids of classes
WIDTH = 118                 # columns of the printed lines of raw ids


def describe(spec: DatasetSpec, split: str, summary: Summary) -> str:
    """Returns the summary of a split as lines of text."""
    return "\n".join([_describe_sizes(split, summary), *_describe_classes(spec, summary),
                      *_describe_raw_ids(spec, summary), *_describe_problems(summary)])


def _describe_sizes(split: str, summary: Summary) -> str:
    sizes = summary.sizes.most_common()
    text = ", ".join(f"{count} of {height}x{width}" for (height, width), count in sizes[:5])
    if len(sizes) > 5:
        text += f" and {len(sizes) - 5} more sizes"
    return f"{split}: {summary.sizes.total()} readable images ({text})"


def _describe_classes(spec: DatasetSpec, summary: Summary) -> list[str]:
    if not summary.num_labeled:
        return []
    width = max(map(len, spec.names))
    lines = [f"  {'class':{width}}   pixels   images  median-frequency weight"]
    weights = summary.weights(spec.num_classes)
    for train_id, (name, weight) in enumerate(zip(spec.names, weights, strict=True)):
        fraction = _percent(summary.pixel_fraction(train_id))
        images = summary.images[train_id]
        absent = "" if images else "  (absent)"
        lines.append(f"  {name:{width}}  {fraction:>7}  {images:>7}  {weight:.3f}{absent}")
    lines.append(f"  ignored {_percent(summary.pixel_fraction(IGNORE_LABEL))} of all pixels, "
                 f"unmapped {_percent(summary.pixel_fraction(UNKNOWN))}")
    return lines


def _describe_raw_ids(spec: DatasetSpec, summary: Summary) -> list[str]:
    counts: dict[str, list[str]] = defaultdict(list)
    for row in summary.raw_counts():
        counts[row.spec.title].append(f"{row.spec.describe(row.raw_id)}: {row.num_pixels:,}")
    lines = []
    for title, entries in counts.items():
        kind = "raw colors" if spec.colors else "raw ids"
        if len(counts) > 1:
            kind += f" of {title}"
        lines += textwrap.wrap(f"{kind} and their pixels: {'; '.join(entries)}", WIDTH,
                               initial_indent="  ", subsequent_indent="    ",
                               break_on_hyphens=False)
    return lines


def _describe_problems(summary: Summary) -> list[str]:
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in summary.problems:
        kinds[problem.kind].append(problem)
    lines = []
    for kind, problems in kinds.items():
        lines.append(f"  PROBLEM: {kind}: {len(problems)}")
        lines += [f"    {problem.message}" for problem in problems[:MAX_PRINTED]]
        if len(problems) > MAX_PRINTED:
            lines.append(f"    and {len(problems) - MAX_PRINTED} more (--json FILE lists all)")
    return lines


def describe_unmapped(spec: DatasetSpec, summaries: Iterable[Summary]) -> str:
    """Returns how to ignore every raw id that a YAML file does not name; "" if it names them all.

    The problems of the files give the ids of one file each.
    """
    unmapped = {row.raw_id for summary in summaries for row in summary.raw_counts()
                if row.raw_id not in spec.raw_to_train}
    if spec.description is None or not 0 < len(unmapped) <= MAX_IGNORED:
        return ""
    return (f"To ignore all {'colors' if spec.colors else 'ids'} of the labels that {spec.source} "
            f"does not name, write this line there: {spec.ignore_line(tuple(sorted(unmapped)))}")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def as_json(spec: DatasetSpec, split: str, summary: Summary) -> dict[str, Any]:
    """Returns the summary of a split in JSON types."""
    names = {**dict(enumerate(spec.names)), IGNORE_LABEL: "ignored", UNKNOWN: "unmapped"}
    raw_ids = [{"table": row.spec.title, "raw": row.spec.describe(row.raw_id),
                "pixels": row.num_pixels, "images": row.num_images,
                "class": names[row.spec.raw_to_train.get(row.raw_id, UNKNOWN)]}
               for row in summary.raw_counts()]
    sizes = summary.sizes.most_common()
    return {"images": summary.sizes.total(),
            "labelled": split not in spec.unlabeled,
            "sizes": {f"{height}x{width}": count for (height, width), count in sizes},
            "raw_ids": raw_ids,
            "class_pixels": {name: summary.pixels[train_id] for train_id, name in names.items()},
            "class_images": {name: summary.images[train_id] for train_id, name in names.items()},
            "class_weights": class_weights(spec, summary),
            "problems": [problem._asdict() for problem in summary.problems]}


def class_weights(spec: DatasetSpec, summary: Summary) -> dict[str, float]:
    """Returns class name -> median-frequency weight, as `--class_weights` of train.py reads it."""
    weights = [round(weight, 6) for weight in summary.weights(spec.num_classes)]
    return dict(zip(spec.names, weights, strict=True))
