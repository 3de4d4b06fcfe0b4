"""Looks at every file of a split and says all that is wrong with it, instead of stopping at the first."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from datasets.listing import Listing, Sample
from datasets.reader import describe_sizes, describe_unknown, read_image, read_label
from datasets.spec import UNKNOWN, DatasetError, DatasetSpec
from utils import IGNORE_LABEL

Size = tuple[int, int]


class Problem(NamedTuple):
    """Something wrong with one file; `kind` groups those that are alike."""

    kind: str
    file: str
    message: str


@dataclass(frozen=True)
class Finding:
    """What is in an image and its label.

    Attributes:
        size: (height, width) of the image; None when it cannot be read.
        counts: raw id -> pixels of the label; None when it cannot be read or there is none.
    """

    size: Size | None
    counts: dict[int, int] | None
    problems: tuple[Problem, ...]


def inspect(sample: Sample) -> Finding:
    """Reads an image and its label, if it has one, and says what is wrong with them."""
    problems: list[Problem] = []
    size = raw = None
    try:
        size = read_image(sample.image).shape[:2]
    except DatasetError as error:
        problems.append(Problem("unreadable image", str(sample.image), str(error)))
    if sample.label is not None:
        try:
            raw = read_label(sample.label, sample.table.colors)
        except DatasetError as error:
            problems.append(Problem("unreadable label", str(sample.label), str(error)))
    if raw is None:
        return Finding(size, None, tuple(problems))
    assert sample.label is not None
    if size is not None and size != raw.shape:
        problems.append(Problem("image and label of two sizes", str(sample.image),
                                describe_sizes(sample, size, raw.shape)))
    counts = count(raw)
    unknown = Counter({raw_id: pixels for raw_id, pixels in counts.items() if raw_id not in sample.table.table})
    if unknown:
        problems.append(Problem(f"unmapped {'colors' if sample.table.colors else 'ids'}", str(sample.label),
                                describe_unknown(sample.label, unknown, sample.table)))
    return Finding(size, counts, tuple(problems))


def count(raw: np.ndarray) -> dict[int, int]:
    """Returns value -> pixels."""
    if raw.dtype == np.uint8:
        histogram = np.bincount(raw.ravel())
        return {value: int(histogram[value]) for value in np.flatnonzero(histogram).tolist()}
    values, counts = np.unique(raw, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


class Inspection(Dataset[Finding]):
    """The findings of a split, by the place of the sample: what a loader's workers share out."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Finding:
        return inspect(self.samples[index])


@dataclass
class Summary:
    """What is in a split.

    Attributes:
        tables: by their titles, those that the labels are read by: several for a merged dataset.
        raw: (title of the table, raw id) -> pixels, and images that hold it.
        pixels, images: of each class, by train id; and under 255 of what is ignored, under 254 of unmapped ids.
        area: of each class, the labelled pixels of the images that hold it.
    """

    sizes: Counter[Size] = field(default_factory=Counter)
    tables: dict[str, DatasetSpec] = field(default_factory=dict)
    raw: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    area: Counter[int] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add(self, sample: Sample, finding: Finding) -> None:
        self.problems += finding.problems
        if finding.size is not None:
            self.sizes[finding.size] += 1
        if finding.counts is None:
            return
        title = sample.table.title
        self.tables[title] = sample.table
        here: Counter[int] = Counter()
        for raw_id, pixels in finding.counts.items():
            before = self.raw.get((title, raw_id), (0, 0))
            self.raw[title, raw_id] = before[0] + pixels, before[1] + 1
            here[sample.table.table.get(raw_id, UNKNOWN)] += pixels
        labelled = sum(pixels for train_id, pixels in here.items() if train_id < UNKNOWN)
        self.pixels.update(here)
        self.images.update(here.keys())
        self.area.update(dict.fromkeys(here, labelled))

    def by_raw_id(self) -> list[tuple[DatasetSpec, int, int, int]]:
        """Returns (table, raw id, pixels, images), table by table, in the order of the raw ids."""
        return [(self.tables[title], raw_id, *counts) for (title, raw_id), counts in sorted(self.raw.items())]

    def share(self, train_id: int) -> float:
        """Returns a class's share of the pixels that count; of all pixels for 254 and 255. 0 where there are none."""
        counted = self.pixels.total() if train_id in (IGNORE_LABEL, UNKNOWN) else self.counted
        return self.pixels[train_id] / counted if counted else 0.0

    @property
    def counted(self) -> int:
        """Pixels of all classes."""
        return sum(pixels for train_id, pixels in self.pixels.items() if train_id < UNKNOWN)

    def weights(self, num_classes: int) -> list[float]:
        """Returns the median-frequency weight of each class (Eigen and Fergus, ICCV 2015, arXiv 1411.4734).

        A class's frequency is its share of the pixels of the images that hold it; its weight is the median frequency of
        all classes over its own. A class without a pixel gets 1.
        """
        frequency = {train_id: self.pixels[train_id] / self.area[train_id] for train_id in range(num_classes)
                     if self.pixels[train_id]}
        median = float(np.median([*frequency.values()])) if frequency else 1.0
        return [median / frequency[train_id] if train_id in frequency else 1.0 for train_id in range(num_classes)]


def pairing_problems(listing: Listing) -> list[Problem]:
    """Returns images without label and labels without image."""
    missing_labels = [Problem("image without label", str(sample.image), f"{sample.image} has no label {sample.label}.")
               for sample in listing.missing_labels]
    labels_without_image = [Problem("label without image", str(path), f"{path} belongs to no image.") for path in listing.labels_without_image]
    return missing_labels + labels_without_image


def repeated_names(samples: Iterable[Sample]) -> list[Problem]:
    """Returns the names that several images of a split share, whose results would overwrite each other."""
    first: dict[str, Path] = {}
    problems = []
    for sample in samples:
        if sample.name in first and first[sample.name] != sample.image:
            problems.append(Problem("name of two images", str(sample.image), f"{sample.image} and {first[sample.name]} "
                                    f"are both called {sample.name}: rename one."))
        first.setdefault(sample.name, sample.image)
    return problems
