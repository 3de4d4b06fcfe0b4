"""Describes an import: classes, overlaps, labels without a class, and what was left out."""
from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.spec import ClassInfo
from tools.import_labels.drawing import IGNORE, SMALLEST, Tally
from tools.import_labels.shapes import Annotations
from utils import IGNORE_LABEL

# lines of a list that are shown
MOST = 8


def describe(path: Path, classes: Sequence[ClassInfo], splits: Sequence[str], tally: Tally,
             annotations: Annotations, overlap: str, background: str | None) -> str:
    """Returns the lines that the import prints.

    Args:
        path: the YAML file.
        splits: of each image.
        overlap, background: values of the flags.
    """
    counts = ", ".join(f"{count} {split}" for split, count in Counter(splits).items())
    total = sum(tally.pixels.values()) + tally.unlabeled
    rest = f"{background}" if background else "ignored (--background NAME makes it a class)"
    lines = [f"{path}: {len(splits)} images ({counts}), {len(classes)} classes",
             f"labeled by shapes: {1 - tally.unlabeled / total:.1%} of the pixels; the rest is "
             f"{rest}"]
    if tally.overlaps:
        lines.append(_overlaps(classes, tally, overlap))
    if tally.without_class:
        lines.append(f"no class, ignored areas: {_list(tally.without_class, 'shapes')}")
    if tally.partly_outside or tally.outside:
        lines.append(f"outside of the image: {tally.partly_outside} shapes partly, which are cut "
                     f"off, and {tally.outside} wholly")
    if tally.without_pixels:
        lines.append(f"too thin to cover the center of a pixel: {tally.without_pixels} shapes")
    if annotations.left_out:
        lines.append(f"without an area, left out: {_list(annotations.left_out)}")
    if annotations.images_left_out:
        lines.append(f"images left out: {_list(annotations.images_left_out)}")
    absent = [info.name for train_id, info in enumerate(classes)
              if not tally.pixels[train_id] and info.name != background]
    if absent:
        more = ", ..." if len(absent) > MOST else ""
        lines.append(f"classes without a pixel: {', '.join(absent[:MOST])}{more}")
    file = shlex.quote(str(path))
    lines.append(f"look at it: python -m tools.check_dataset --dataset {file} --sheet sheet.png")
    lines.append(f"train on it: python train.py --dataset {file} --exp NAME"
                 + ("" if "val" in splits else " --val_split none"))
    return "\n".join(lines)


def _overlaps(classes: Sequence[ClassInfo], tally: Tally, overlap: str) -> str:
    names = {train_id: info.name for train_id, info in enumerate(classes)}
    names[IGNORE_LABEL] = "ignored"
    rule = {IGNORE: "they are ignored", SMALLEST: "the smaller shape counts"}.get(
        overlap, "the shape drawn last counts")
    pairs = [f"{names[upper]} over {names[lower]} {count:,}"
             for (upper, lower), count in tally.overlaps.most_common(MOST)]
    more = ", ..." if len(tally.overlaps) > MOST else ""
    return (f"two classes on one pixel: {sum(tally.overlaps.values()):,} pixels in "
            f"{tally.overlapping_images} images; {rule}: {', '.join(pairs)}{more}")


def _list(counts: Mapping[str, int], noun: str = "") -> str:
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    parts = [f"{count:,} {noun} {name!r}" if noun else f"{count:,} {name}"
             for name, count in ordered[:MOST]]
    return ", ".join(parts) + (", ..." if len(ordered) > MOST else "")
