"""The reader of every dataset: decodes the files of a split and maps raw ids to train ids."""
from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from datasets.listing import SEE_DATASETS, Sample, find_samples
from datasets.sampling import SampleDraw
from datasets.spec import UNKNOWN, BadSample, DatasetError, DatasetSpec

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PALETTE = 3             # color type in a PNG header
JPEG_SIGNATURE = b"\xff\xd8"
# In the scan of a JPEG file, each data byte ff is followed by 00, so these are markers.
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
RIFF_SIGNATURE = b"RIFF"    # of WebP files

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

    @property
    def labeled(self) -> bool:
        """Whether the split has labels."""
        return self.split not in self.spec.unlabeled

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = key if isinstance(key, SampleDraw) else SampleDraw(index=key, position=key)
        name = self.samples[draw.index].name
        image, label = self.read(draw.index)
        if label is None:
            return {"image": _to_tensor(image), "name": name}
        rng = draw.rng()
        if self.transform is not None:
            image, label = self.transform(image, label, draw.focus, rng)
        extras = self.extras(rng) if self.extras else {}
        # torch warns about read-only arrays, which a packed copy gives without a transform
        image, label = np.require(image, requirements="W"), np.require(label, requirements="W")
        sample = {"image": _to_tensor(image), "label": torch.from_numpy(label), "name": name}
        return {**sample, **extras}

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
    """Two splits with one numbering: the images of the second follow those of the first."""

    def __init__(self, first: SegmentationDataset, second: SegmentationDataset) -> None:
        self.first = first
        self.second = second
        self.spec = first.spec
        self.samples = (*first.samples, *second.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = key if isinstance(key, SampleDraw) else SampleDraw(index=key, position=key)
        if draw.index < len(self.first):
            return self.first[draw]
        return self.second[replace(draw, index=draw.index - len(self.first))]


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
    return (f"{sample.image} is {image[0]}x{image[1]} (height x width) but its label "
            f"{sample.label} is {label[0]}x{label[1]}: both must have the same size. Resize the "
            "wrong one; resize labels without interpolation.")


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


def read_image(path: Path | str, upright: bool = False) -> np.ndarray:
    """Reads a PNG, JPEG or WebP file as (H, W, 3) uint8 RGB.

    Gray becomes three channels and alpha is dropped.

    Args:
        upright: rotates the image as its EXIF orientation says. Images of a dataset are not
            rotated, because label files carry no orientation.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged.
    """
    path = Path(path)
    flags = cv2.IMREAD_COLOR
    if not upright:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    image = _decode(path, _read_bytes(path), flags)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_label(path: Path, colors: bool = False) -> np.ndarray:
    """Reads the values of a label file, unchanged.

    Args:
        colors: the file encodes each class as a color.

    Returns:
        (H, W) ids: uint8 from a gray or palette file of at most 8 bits, uint16 from a gray file of
        16 bits. With `colors`, (H, W) uint32 of red << 16 | green << 8 | blue.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged, or holds colors where ids
            are expected.
    """
    data = _read_bytes(path)
    if colors:
        bgr = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        bgra = cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
        return bgra.view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    is_png = data.startswith(PNG_SIGNATURE) and len(data) > 25
    depth, color_type = (data[24], data[25]) if is_png else (8, 0)
    if color_type == PNG_PALETTE:
        return _decode_palette(path, data)
    label = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
        channels = 1 if label.ndim == 2 else label.shape[2]
        raise DatasetError(
            f"{path} is not a map of class ids: it has {channels} channel(s) of "
            f"{8 * label.itemsize} bits, but labels are gray or palette PNG files of at most 16 "
            "bits. Is it a colored picture of the labels? If the colors are the labels, describe "
            f"the dataset in a YAML file with label_format: rgb {SEE_DATASETS}.")
    if depth < 8:
        # OpenCV stretches values of 1, 2 and 4 bits to 0..255
        label //= 255 // (2 ** depth - 1)
    return label


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSample(f"{path} cannot be read ({error.strerror}): check the disk or copy it "
                        "again.") from error


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    # Some releases of OpenCV return the first rows of a truncated file without an error.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if _is_complete(data) else None
    if decoded is None:
        raise _damaged(path, data)
    return decoded


def _decode_palette(path: Path, data: bytes) -> np.ndarray:
    """Decodes a palette PNG as (H, W) uint8 indices; OpenCV would return the palette's colors."""
    if not _is_complete(data):
        raise _damaged(path, data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.array(image)
    # Pillow raises a SyntaxError for a chunk whose checksum is wrong.
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, data) from error


def _damaged(path: Path, data: bytes) -> BadSample:
    return BadSample(f"{path} is truncated or damaged: its {len(data):,} bytes do not hold a whole "
                     "image. Copy or download it again.")


def _is_complete(data: bytes) -> bool:
    """Whether the last bytes of a file are those that end an image of its format."""
    if data.startswith(PNG_SIGNATURE):
        return b"IEND" in data[-64:]
    if data.startswith(JPEG_SIGNATURE):
        return data.rfind(JPEG_END) > data.rfind(JPEG_START_OF_SCAN)
    if data.startswith(RIFF_SIGNATURE):
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return bool(data)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    # (H, W, 3) -> (3, H, W); a view, so the memory stays channels last
    return torch.from_numpy(image).permute(2, 0, 1)
