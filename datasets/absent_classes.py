"""Names classes that no pixel has, where ignored pixels look like them."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from datasets.image_files import read_label
from datasets.listing import Sample, evenly_spaced
from datasets.reader import describe_orientation
from datasets.spec import DatasetError, DatasetSpec, int_to_rgb
from utils import IGNORE_LABEL

# label files that `inspect_labels` reads
CHECKED_LABELS = 24
# keys of a class that say which values its pixels have
ID_KEYS = ("id", "ids", "label_rgbs")


def describe_absent(spec: DatasetSpec, pixels: Mapping[int, int], complete: bool = True) -> str:
    """Returns a message if ignored pixels seem to be those of classes that no pixel has.

    A mask of 0 and 255 with two classes and no ids is such a case: 255 is ignored by default, so
    one class is left and every score is perfect. Only datasets that a YAML file describes are
    judged, because the ids of the others are known.

    Args:
        pixels: raw id -> number of pixels.
        complete: whether these are all label files of the dataset, and not a sample. In a sample, a
            rare class may be absent.

    Returns:
        The message, with the lines of YAML that mend it; "" if there is nothing to say.
    """
    if spec.description is None:
        return ""
    counts = Counter({raw_id: count for raw_id, count in pixels.items() if count})
    present = {spec.raw_to_train[raw_id] for raw_id in counts if raw_id in spec.raw_to_train}
    absent = [train_id for train_id in range(spec.num_classes) if train_id not in present]
    ignored = sorted(raw_id for raw_id in counts
                     if spec.raw_to_train.get(raw_id) == IGNORE_LABEL)
    one_class_is_left = len(present - {IGNORE_LABEL}) <= 1
    nothing_is_stated = complete and _states_no_ids(spec.description)
    if not absent or not ignored or not (one_class_is_left or nothing_is_stated):
        return ""
    names = ", ".join(spec.names[train_id] for train_id in absent)
    values = ", ".join(spec.describe(raw_id) for raw_id in ignored)
    ignored_pixels = sum(counts[raw_id] for raw_id in ignored)
    fraction = 100 * ignored_pixels / counts.total()
    by_default = "" if _ignored_key(spec) in spec.description else " by default"
    are = "are" if len(ignored) > 1 else "is"
    message = (f"no pixel belongs to {names}, but {ignored_pixels:,} pixels ({fraction:.2f} %) "
               f"hold {values}, which {are} ignored{by_default}. If they are {names}, write in "
               f"{spec.source}:\n")
    message += "\n".join(_mending_lines(spec, absent, ignored))
    if by_default:
        message += (f"\nIf they are to be ignored, write this line there: {_ignored_key(spec)}: "
                    f"[{', '.join(_yaml(spec, raw_id) for raw_id in ignored)}]")
    return message


def inspect_labels(samples: Sequence[Sample]) -> list[str]:
    """Returns warnings about training images, from some files of each dataset among them.

    Reads evenly spaced label files of a dataset that a YAML file describes; files that cannot be
    read are left to the loader, which names them.
    """
    by_spec: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.label is not None and sample.spec.description is not None:
            by_spec.setdefault(id(sample.spec), []).append(sample)
    return [message for described in by_spec.values() for message in _inspect_dataset(described)]


def _inspect_dataset(described: Sequence[Sample]) -> list[str]:
    checked = evenly_spaced(described, CHECKED_LABELS)
    pixels: Counter[int] = Counter()
    orientations = []
    for sample in checked:
        assert sample.label is not None
        try:
            raw = read_label(sample.label, sample.spec.colors)
        except DatasetError:
            continue
        values, counts = np.unique(raw, return_counts=True)
        pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        orientations.append(describe_orientation(sample.image, raw.shape))
    absent = describe_absent(described[0].spec, pixels, complete=len(checked) == len(described))
    if absent:
        absent = f"in {len(checked)} of {len(described)} label files, {absent}"
    return [message for message in (absent, next(filter(None, orientations), "")) if message]


def _states_no_ids(description: Mapping[str, Any]) -> bool:
    """Whether a YAML file says neither the ids of its classes nor the ignored ones."""
    if description.get("label_format", "ids") != "ids" or "ignored_ids" in description:
        return False
    return not any(key in entry for entry in description["classes"] for key in ID_KEYS)


def _ignored_key(spec: DatasetSpec) -> str:
    return "ignored_rgbs" if spec.colors else "ignored_ids"


def _mending_lines(spec: DatasetSpec, absent: Sequence[int], ignored: Sequence[int]) -> list[str]:
    """Returns the lines of the absent classes, or of both of two, with the ignored values as ids.

    With more ignored values than absent classes, the largest are taken; a class for which none is
    left keeps its ids.
    """
    chosen = ignored[-len(absent):]
    new_ids = dict(zip(absent, chosen, strict=False))
    lines = []
    for train_id, info in enumerate(spec.classes):
        if spec.num_classes != 2 and train_id not in new_ids:
            continue
        raw_ids = [new_ids[train_id]] if train_id in new_ids else list(spec.raw_ids(train_id))
        entry: dict[str, Any] = {"name": info.name, "rgb": list(info.rgb)}
        if spec.colors:
            entry["label_rgbs"] = [list(int_to_rgb(raw_id)) for raw_id in raw_ids]
        elif len(raw_ids) == 1:
            entry["id"] = raw_ids[0]
        else:
            entry["ids"] = raw_ids
        if info.category:
            entry["category"] = info.category
        text = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, allow_unicode=True,
                              width=10_000)
        lines.append(f"  - {text.strip()}")
    assert spec.description is not None
    if _ignored_key(spec) in spec.description:
        rest = [raw_id for raw_id in spec.ignored_raw_ids if raw_id not in chosen]
        lines.append(f"{_ignored_key(spec)}: [{', '.join(_yaml(spec, raw_id) for raw_id in rest)}]")
    return lines


def _yaml(spec: DatasetSpec, raw_id: int) -> str:
    return str(list(int_to_rgb(raw_id))) if spec.colors else str(raw_id)
