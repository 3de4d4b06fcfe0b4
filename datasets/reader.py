"""The reader of every dataset: decodes the files of a split and maps raw ids to train ids."""
from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.groups import groups
from datasets.image_files import APPLY_ORIENTATION, exif_orientation, read_image, read_label
from datasets.listing import Sample, find_samples
from datasets.sampling import SampleDraw
from datasets.spec import SEE_DATASETS, UNKNOWN, BadSample, DatasetError, DatasetSpec

Focus = tuple[int, int] | None
Extras = Callable[[np.random.Generator], dict[str, Any]]
Transform = Callable[
    [np.ndarray, np.ndarray, Focus, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class PairSource(Protocol):
    """Where a dataset reads its pairs: its own files (`Files`) or a packed copy (`Pack`)."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an image (H, W, 3) and its label (H, W) of train ids, or None without a label."""
        ...

    def label(self, index: int) -> np.ndarray:
        """Returns the label (H, W) of train ids of one image, without reading the image."""
        ...


class Files:
    """Reads each pair from the image file and the label file of a sample."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.label is None:
            return image, None
        label = read_train_ids(sample.label, sample.spec)
        if image.shape[:2] != label.shape:
            raise BadSample(describe_sizes(sample, image.shape[:2], label.shape))
        return image, label

    def label(self, index: int) -> np.ndarray:
        sample = self.samples[index]
        assert sample.label is not None
        return read_train_ids(sample.label, sample.spec)


class PartnerSource(Protocol):
    """Other images for a transform that mixes some into a sample (`datasets.partners`)."""

    def transform_of(self, index: int, transform: Any) -> Transform:
        """Returns the transform of the sample of one image."""
        ...


class SegmentationDataset(Dataset[dict[str, Any]]):
    """A split of a dataset.

    `data[i]`, with an index or a `SampleDraw`, is a dict of
        image: (3, H, W) uint8 RGB, channels last in memory;
        label: (H, W) uint8 train ids, 255 where ignored; absent if the split has no labels;
        name: str;
    and the entries that `extras` returns.

    Args:
        transform: (image (H, W, 3), label (H, W), focus, rng) -> (image, label), all uint8 arrays.
        extras: draws further entries of the dict from the generator of the sample, after the
            transform.

    Attributes:
        source: where pairs are read; `Files` unless a packed copy replaces it.
        partners: the images that the transform mixes into others, see `add_partners`; or None.

    Raises:
        FileNotFoundError: the root is missing, has another layout, or lacks labels.
        DatasetError: the split is unknown, or has a transform and no labels. When reading: a file
            is damaged, image and label differ in size, or the spec does not name an id.
    """

    def __init__(self, spec: DatasetSpec, root: str | Path, split: str,
                 transform: Transform | None = None, extras: Extras | None = None) -> None:
        if transform is not None and split in spec.unlabeled:
            raise DatasetError(f"{spec.title} {split} has no public labels to train on: choose "
                               "another --train_split.")
        self.spec = spec
        self.split = split
        self.transform = transform
        self.extras = extras
        self.root = Path(root).expanduser()
        self.samples = find_samples(spec, self.root, split)
        self.source: PairSource = Files(self.samples)
        self.partners: PartnerSource | None = None

    @property
    def labeled(self) -> bool:
        """Whether the split has labels."""
        return self.split not in self.spec.unlabeled

    def groups(self, count: int | None = None) -> tuple[str, ...] | None:
        """Returns the group of correlated images to which each image belongs; None without groups.

        Args:
            count: of the first images only.
        """
        return groups(self.spec, self.root, self.samples[:count])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = SampleDraw.of(key)
        name = self.samples[draw.index].name
        image, label = self.read(draw.index)
        if label is None:
            return {"image": _to_tensor(image), "name": name}
        rng, transform = draw.rng(), self.transform_of(draw.index)
        if transform is not None:
            image, label = transform(image, label, draw.focus, rng)
        extras = self.extras(rng) if self.extras else {}
        # torch warns about read-only arrays, which a packed copy gives without a transform
        image, label = np.require(image, requirements="W"), np.require(label, requirements="W")
        sample = {"image": _to_tensor(image), "label": torch.from_numpy(label), "name": name}
        return {**sample, **extras}

    def transform_of(self, index: int) -> Transform | None:
        """Returns the transform of one image, to which its partners are known."""
        if self.partners is None:
            return self.transform
        return self.partners.transform_of(index, self.transform)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an image (H, W, 3) and its label (H, W) of train ids, without the transform.

        Arrays from a packed copy are read-only.

        Raises:
            DatasetError: a file is damaged, image and label differ in size, or the spec does not
                name an id.
        """
        return self.source.read(index)

    def label(self, index: int) -> np.ndarray:
        """Returns the label (H, W) of train ids of one image, without reading the image."""
        return self.source.label(index)


class JoinedDataset(Dataset[dict[str, Any]]):
    """Splits with one numbering: the images of each follow those of the splits before it.

    Attributes:
        spec: that of the first split.
        starts: number of the first image of each split.
    """

    def __init__(self, *parts: SegmentationDataset | JoinedDataset) -> None:
        self.parts = parts
        self.spec: DatasetSpec = parts[0].spec
        self.samples: tuple[Sample, ...] = sum((part.samples for part in parts), ())
        self.starts = [0, *accumulate(len(part) for part in parts[:-1])]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = SampleDraw.of(key)
        number = bisect_right(self.starts, draw.index) - 1
        return self.parts[number][replace(draw, index=draw.index - self.starts[number])]


def read_train_ids(path: Path, spec: DatasetSpec) -> np.ndarray:
    """Reads a label file as (H, W) uint8 train ids, 255 where ignored.

    Raises:
        DatasetError: the file cannot be read, is not a map of ids or colors, or holds values that
            the spec does not name.
    """
    raw = read_label(path, spec.colors)
    label = spec.to_train_ids(raw)
    unknown = label == UNKNOWN
    if unknown.any():
        raise DatasetError(describe_unknown(path, Counter(raw[unknown].tolist()), spec))
    return label


def describe_sizes(sample: Sample, image: tuple[int, ...], label: tuple[int, ...]) -> str:
    """Returns the error message for an image and a label of different (height, width)."""
    sizes = (f"{sample.image} is {image[0]}x{image[1]} (height x width) but its label "
             f"{sample.label} is {label[0]}x{label[1]}")
    orientation = exif_orientation(sample.image)
    if orientation != 1 and tuple(label) == tuple(image[::-1]):
        return (f"{sizes}: the image carries EXIF orientation {orientation}, which is not applied, "
                "and its label was drawn on the turned picture. Do not resize them: write the "
                f"images again as they are seen, with {APPLY_ORIENTATION}")
    return (f"{sizes}: both must have the same size. Resize the wrong one; resize labels without "
            "interpolation.")


def describe_orientation(image: Path, size: tuple[int, ...]) -> str:
    """Returns the message for an image that may be turned against its label of the same size.

    An image with an EXIF orientation is read as stored, but programs show it turned. If the size
    of its label does not tell which of the two the label was drawn on, the user must say it. The
    message is "" if there is nothing to say.

    Args:
        size: (height, width) of image and label.
    """
    orientation = exif_orientation(image)
    swaps_sides = orientation >= 5
    if orientation == 1 or (swaps_sides and size[0] != size[1]):
        return ""
    return (f"{image} carries EXIF orientation {orientation}: it is read as stored, but "
            "most programs show it turned or mirrored, and the size of its label does not tell "
            "which of the two it fits. If the labels fit the pictures as they are seen, write the "
            f"images again with {APPLY_ORIENTATION} ; if they fit the pixels as stored, as those "
            "of published datasets do, remove the orientation with exiftool -Orientation= FILES")


def describe_unknown(path: Path, counts: Counter[int], spec: DatasetSpec) -> str:
    """Returns the error message for a label file with raw ids that the spec does not name.

    Args:
        counts: unknown raw id -> number of its pixels.
    """
    frequent = counts.most_common(5)
    examples = ", ".join(
        f"{spec.describe(raw_id)} ({count:,} pixel{'s' if count != 1 else ''})"
        for raw_id, count in frequent)
    if len(counts) > len(frequent):
        examples += f" and {len(counts) - len(frequent)} more"
    if spec.source:
        file = f"in {spec.source}"
    else:
        file = f"in a YAML file that describes the dataset {SEE_DATASETS}"
    line = spec.ignore_line(tuple(sorted(counts)[:20]))
    return (f"{path} holds {'colors' if spec.colors else 'ids'} that {spec.title} does not name: "
            f"{examples}. Check that --dataset {spec.name} fits these files. To ignore them, write "
            f"this line {file}: {line}")


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    # (H, W, 3) -> (3, H, W); a view, so the memory stays channels last
    return torch.from_numpy(image).permute(2, 0, 1)
