"""The one reader of every dataset: decodes the files of a split and maps raw ids to train ids."""
from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.listing import SEE_DATASETS, Sample, find_samples
from datasets.sampling import SampleDraw
from datasets.spec import UNKNOWN, BadSample, DatasetError, DatasetSpec

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"     # in a scan, 00 follows each data byte ff

Focus = tuple[int, int] | None
Extras = Callable[[np.random.Generator], dict[str, Any]]
Transform = Callable[[np.ndarray, np.ndarray, Focus, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class PairSource(Protocol):
    """Where a dataset reads its pairs: its own files (`Files`) or a packed copy (`Pack`)."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an image (H, W, 3) and its label (H, W) of train ids; no label if it has none."""
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
        label = read_train_ids(sample.label, sample.table)
        if image.shape[:2] != label.shape:
            raise BadSample(describe_sizes(sample, image.shape[:2], label.shape))
        return image, label

    def label(self, index: int) -> np.ndarray:
        sample = self.samples[index]
        assert sample.label is not None
        return read_train_ids(sample.label, sample.table)


class SegmentationDataset(Dataset[dict[str, Any]]):
    """A split of a dataset.

    `data[i]`, with an index or a `SampleDraw`, is a dict of
        image: (3, H, W) uint8 RGB, channels last in memory;
        label: (H, W) uint8 train ids, 255 ignored; absent when the split has no labels;
        name: str.

    Args:
        transform: (image (H, W, 3), label (H, W), focus, rng) -> (image, label), all uint8 arrays.
        extras: what else to draw by a sample's own chance, after the transform; joins the dict.

    Raises:
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
        DatasetError: an unknown split, a transform on a split without labels; when reading: a damaged file, an image
            and a label of two sizes, an id that the table does not name.
    """

    def __init__(self, spec: DatasetSpec, root: str | Path, split: str, transform: Transform | None = None,
                 extras: Extras | None = None) -> None:
        if transform is not None and split in spec.unlabelled:
            raise DatasetError(f"{spec.title} {split} has no public labels, so nothing can be trained on it: "
                               "choose another --train_split.")
        self.spec = spec
        self.split = split
        self.transform = transform
        self.extras = extras
        self.root = Path(root).expanduser()
        self.samples = find_samples(spec, self.root, split)
        self.source: PairSource = Files(self.samples)

    @property
    def labelled(self) -> bool:
        return self.split not in self.spec.unlabelled

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
        image, label = (np.require(each, requirements="W") for each in (image, label))
        return {"image": _to_tensor(image), "label": torch.from_numpy(label), "name": name, **extras}

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an image (H, W, 3) and its label (H, W) of train ids, before any transform; read-only from a pack.

        Raises:
            DatasetError: a damaged file, two sizes, an id that the table does not name.
        """
        return self.source.read(index)

    def label(self, index: int) -> np.ndarray:
        """Returns the train ids (H, W) of one image, 255 where ignored, without reading the image."""
        return self.source.label(index)


class JoinedDataset(Dataset[dict[str, Any]]):
    """Two splits under one numbering: the images of the second follow those of the first."""

    def __init__(self, first: SegmentationDataset, second: SegmentationDataset) -> None:
        self.first, self.second = first, second
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
    """Reads a label file as (H, W) uint8 train ids, 255 where it is ignored.

    Raises:
        DatasetError: the file cannot be read, is no map of ids or colors, or holds some that the table does not name.
    """
    raw = read_label(path, spec.colors)
    label = spec.to_train_ids(raw)
    unknown = label == UNKNOWN
    if unknown.any():
        raise DatasetError(describe_unknown(path, Counter(raw[unknown].tolist()), spec))
    return label


def describe_sizes(sample: Sample, image: tuple[int, ...], label: tuple[int, ...]) -> str:
    """Returns what to say of an image and a label of two sizes (height, width)."""
    return (f"{sample.image} is {image[0]}x{image[1]} (height x width) but its label {sample.label} is "
            f"{label[0]}x{label[1]}: the two must have one size. Resize the one that is wrong, labels without "
            "interpolation.")


def describe_unknown(path: Path, counts: Counter[int], spec: DatasetSpec) -> str:
    """Returns what to say of a file with raw ids that the table does not name, and how many pixels have each."""
    most = counts.most_common(5)
    found = ", ".join(f"{spec.describe(raw_id)} ({count:,} pixel{'s' * (count != 1)})" for raw_id, count in most)
    more = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    line = spec.ignoring(tuple(sorted(counts)[:20]))
    where = f"in {spec.source}" if spec.source else f"in a YAML file that describes the dataset {SEE_DATASETS}"
    return (f"{path} holds {'colors' if spec.colors else 'ids'} that {spec.title} does not name: {found}{more}. "
            f"Check that --dataset {spec.name} fits these files. To ignore them, write this line {where}: {line}")


def read_image(path: Path | str, upright: bool = False) -> np.ndarray:
    """Reads a PNG, JPEG or WebP file as (H, W, 3) uint8 RGB; gray becomes three channels and alpha is dropped.

    Args:
        upright: turns the picture as its camera noted (EXIF). A dataset's images are not turned, because label files
            cannot carry an orientation.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged.
    """
    turned = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    path = Path(path)
    image = _decode(path, _read_bytes(path), cv2.IMREAD_COLOR | turned)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_label(path: Path, colors: bool = False) -> np.ndarray:
    """Reads what a label file holds, unchanged.

    Args:
        colors: the file shows each class in a color.

    Returns:
        (H, W) ids, uint8 from a gray or palette file of at most 8 bits, uint16 from a gray one of 16 bits; with
        `colors` (H, W) uint32, red << 16 | green << 8 | blue.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged, or holds colors where ids are expected.
    """
    data = _read_bytes(path)
    if colors:
        bgr = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    is_png = data.startswith(PNG_SIGNATURE)
    depth, color_type = (data[24], data[25]) if is_png and len(data) > 25 else (8, 0)
    if color_type == 3:
        data = _palette_as_grey(data)
    label = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
        channels = 1 if label.ndim == 2 else label.shape[2]
        raise DatasetError(f"{path} is not a map of class ids: it has {channels} channel(s) of {8 * label.itemsize} "
                           "bits, but labels are gray or palette PNG files of at most 16 bits. Is it a picture for "
                           "looking at? Where colors are the labels, describe the dataset in a YAML file with "
                           f"label_format: rgb {SEE_DATASETS}.")
    return label if depth >= 8 else label // (255 // (2 ** depth - 1))      # decoding stretches 1, 2, 4 bits to 8


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSample(f"{path} cannot be read ({error.strerror}): check the disk or copy it again.") from error


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    # Some releases of OpenCV return the first rows of a truncated file without an error: so its end is looked for.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if _is_complete(data) else None
    if decoded is None:
        raise BadSample(f"{path} is truncated or damaged: its {len(data):,} bytes do not hold a whole image. "
                        "Copy or download it again.")
    return decoded


def _is_complete(data: bytes) -> bool:
    if data.startswith(PNG_SIGNATURE):
        return b"IEND" in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return data.rfind(JPEG_END) > data.rfind(JPEG_START_OF_SCAN)
    if data.startswith(b"RIFF"):
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return bool(data)


def _palette_as_grey(data: bytes) -> bytes:
    """Declares a palette PNG to be a gray one, so that decoding gives the indices; OpenCV offers only the colors.

    Source: PNG specification (W3C), 5 "Datastream structure" and 11.2.1 "IHDR": color type 3 is palette, 0 is gray.
    """
    start, header = len(PNG_SIGNATURE), data[12:25] + b"\0" + data[26:29]
    kept = [PNG_SIGNATURE, len(header[4:]).to_bytes(4, "big"), header, zlib.crc32(header).to_bytes(4, "big")]
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] in (b"IDAT", b"IEND"):
            kept.append(data[start:end])
        start = end
    return b"".join(kept)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)         # (H, W, 3) -> (3, H, W), nothing is moved
