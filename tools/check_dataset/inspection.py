"""Reads every file of a split and collects all problems, instead of stopping at the first."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from datasets.absent_classes import describe_absent
from datasets.image_files import read_image, read_label
from datasets.listing import Listing, Sample, describe_name
from datasets.reader import describe_orientation, describe_sizes, describe_unknown
from datasets.spec import UNKNOWN, DatasetError, DatasetSpec
from utils import IGNORE_LABEL

Size = tuple[int, int]


class Problem(NamedTuple):
    """A problem of one file; `kind` groups problems of the same cause."""

    kind: str
    file: str
    message: str


class RawCount(NamedTuple):
    """How often a raw id of a spec occurs: number of pixels, and of images that contain it."""

    spec: DatasetSpec
    raw_id: int
    num_pixels: int
    num_images: int


@dataclass(frozen=True)
class Finding:
    """The content of an image and its label.

    Attributes:
        size: (height, width) of the image; None if it cannot be read.
        counts: raw id -> pixels of the label; None if it cannot be read or does not exist.
    """

    size: Size | None
    counts: dict[int, int] | None
    problems: tuple[Problem, ...]


def inspect(sample: Sample) -> Finding:
    """Reads an image and its label, if it has one, and collects their problems."""
    problems = name_problems(sample)
    size = raw = None
    try:
        size = read_image(sample.image).shape[:2]
    except DatasetError as error:
        problems.append(Problem("unreadable image", str(sample.image), str(error)))
    if sample.label is None:
        return Finding(size, None, tuple(problems))
    try:
        raw = read_label(sample.label, sample.spec.colors)
    except DatasetError as error:
        problems.append(Problem("unreadable label", str(sample.label), str(error)))
        return Finding(size, None, tuple(problems))
    if size is not None and size != raw.shape:
        problems.append(Problem("image and label of two sizes", str(sample.image),
                                describe_sizes(sample, size, raw.shape)))
    elif size is not None and (message := describe_orientation(sample.image, size)):
        problems.append(Problem("EXIF orientation", str(sample.image), message))
    counts = count_values(raw)
    unknown = Counter({raw_id: count for raw_id, count in counts.items()
                       if raw_id not in sample.spec.raw_to_train})
    if unknown:
        kind = "unmapped colors" if sample.spec.colors else "unmapped ids"
        problems.append(Problem(kind, str(sample.label),
                                describe_unknown(sample.label, unknown, sample.spec)))
    return Finding(size, counts, tuple(problems))


def name_problems(sample: Sample) -> list[Problem]:
    """Returns the files of a sample whose names are not UTF-8."""
    paths = [path for path in (sample.image, sample.label) if path is not None]
    return [Problem("name that is not UTF-8", str(path), message)
            for path in paths if (message := describe_name(path))]


def count_values(raw: np.ndarray) -> dict[int, int]:
    """Returns value -> number of pixels, sorted by value."""
    if raw.dtype == np.uint8:
        histogram = np.bincount(raw.ravel())
        return {value: int(histogram[value]) for value in np.flatnonzero(histogram).tolist()}
    values, counts = np.unique(raw, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


class Inspection(Dataset[Finding]):
    """The finding of each sample of a split, for the worker processes of a loader."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Finding:
        return inspect(self.samples[index])


@dataclass
class Summary:
    """The content of a split.

    Attributes:
        sizes: (height, width) -> number of images.
        specs: title -> spec, of those that define the labels; a merged dataset has several.
        raw: (title of the spec, raw id) -> number of pixels, and of images that contain it.
        pixels, images: train id -> the same; 255 counts ignored pixels, 254 unmapped ids.
        area: train id -> labeled pixels of the images that contain the class.
    """

    sizes: Counter[Size] = field(default_factory=Counter)
    specs: dict[str, DatasetSpec] = field(default_factory=dict)
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
        title = sample.spec.title
        self.specs[title] = sample.spec
        pixels: Counter[int] = Counter()
        for raw_id, count in finding.counts.items():
            num_pixels, num_images = self.raw.get((title, raw_id), (0, 0))
            self.raw[title, raw_id] = num_pixels + count, num_images + 1
            pixels[sample.spec.raw_to_train.get(raw_id, UNKNOWN)] += count
        labeled = sum(count for train_id, count in pixels.items() if train_id < UNKNOWN)
        self.pixels.update(pixels)
        self.images.update(pixels.keys())
        self.area.update(dict.fromkeys(pixels, labeled))

    def raw_counts(self) -> list[RawCount]:
        """Returns the counts of every raw id, sorted by spec and raw id."""
        return [RawCount(self.specs[title], raw_id, num_pixels, num_images)
                for (title, raw_id), (num_pixels, num_images) in sorted(self.raw.items())]

    def pixel_fraction(self, train_id: int) -> float:
        """Returns the fraction of the labeled pixels that a class has; 0 if there are none.

        For 254 and 255, the fraction of all pixels.
        """
        total = self.num_labeled
        if train_id in (IGNORE_LABEL, UNKNOWN):
            total = self.pixels.total()
        return self.pixels[train_id] / total if total else 0.0

    @property
    def num_labeled(self) -> int:
        """Number of pixels of all classes."""
        return sum(count for train_id, count in self.pixels.items() if train_id < UNKNOWN)

    def weights(self, num_classes: int) -> list[float]:
        """Returns the median-frequency weight of each class (Eigen and Fergus, arXiv 1411.4734).

        With f_c = pixels of class c / labeled pixels of the images that contain c, the weight is
        w_c = median(f) / f_c. A class without a pixel gets 1.
        """
        frequency = {train_id: self.pixels[train_id] / self.area[train_id]
                     for train_id in range(num_classes) if self.pixels[train_id]}
        median = float(np.median([*frequency.values()])) if frequency else 1.0
        return [median / frequency[train_id] if train_id in frequency else 1.0
                for train_id in range(num_classes)]


def pairing_problems(listing: Listing) -> list[Problem]:
    """Returns the images without label and the labels without image."""
    unlabeled = [Problem("image without label", str(sample.image),
                         f"{sample.image} has no label {sample.label}.")
                 for sample in listing.missing_labels]
    without_image = [Problem("label without image", str(path), f"{path} belongs to no image.")
                     for path in listing.labels_without_image]
    return unlabeled + without_image


def repeated_names(samples: Iterable[Sample]) -> list[Problem]:
    """Returns the names that several images share, whose results would overwrite each other."""
    first: dict[str, Path] = {}
    problems = []
    for sample in samples:
        other = first.setdefault(sample.name, sample.image)
        if other != sample.image:
            problems.append(Problem("name of two images", str(sample.image),
                                    f"{sample.image} and {other} are both called {sample.name}: "
                                    "rename one of them."))
    return problems


def unlabeled_pixels(spec: DatasetSpec, split: str, summary: Summary) -> list[Problem]:
    """Returns a problem if no pixel of the labels of a split belongs to a class."""
    if summary.num_labeled or not summary.pixels.total():
        return []
    message = (f"{spec.title} {split}: none of the {summary.pixels.total():,} pixels of its labels "
               "belongs to a class, so that it can neither be trained nor scored. Check that the "
               "label files are the right ones, and the ids of the classes.")
    return [Problem("split without labeled pixels", split, message)]


def class_problems(spec: DatasetSpec, summaries: Mapping[str, Summary]) -> list[Problem]:
    """Returns a problem if classes have no pixel in any split, and ignored pixels look like them.

    Args:
        summaries: split -> its summary.
    """
    pixels: Counter[int] = Counter()
    for split, summary in summaries.items():
        if split not in spec.unlabeled:
            pixels.update({row.raw_id: row.num_pixels for row in summary.raw_counts()})
    message = describe_absent(spec, pixels)
    kind = "class that no pixel has, beside ignored pixels"
    return [Problem(kind, spec.source, message)] if message else []
