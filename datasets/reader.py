"""The one reader of every dataset: finds files by the table's layouts, decodes them and maps raw ids to train ids."""
from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.sampling import Draw
from datasets.spec import UNKNOWN, DatasetError, DatasetSpec, Layout
from utils.flags import suggest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"     # in a scan, 00 follows each data byte ff
SEE_DATASETS = "(see DATASETs.md)"

Focus = tuple[int, int] | None
Extras = Callable[[np.random.Generator], dict[str, Any]]
Transform = Callable[[np.ndarray, np.ndarray, Focus, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Sample(NamedTuple):
    """One image and its label; no label in splits whose labels are not public."""

    name: str
    image: Path
    label: Path | None


class SegmentationDataset(Dataset[dict[str, Any]]):
    """A split of a dataset.

    `data[i]`, with an index or a `Draw`, is a dict of
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
        if split not in spec.splits:
            raise DatasetError(f"{spec.title} has no split {split!r}{suggest(split, spec.splits) or '.'} "
                               f"The splits are: {', '.join(spec.splits)}.")
        if transform is not None and split in spec.unlabelled:
            raise DatasetError(f"{spec.title} {split} has no public labels, so nothing can be trained on it: "
                               "choose another --train_split.")
        self.spec = spec
        self.split = split
        self.transform = transform
        self.extras = extras
        self.root = Path(root).expanduser()
        self.samples = find_samples(spec, self.root, split)

    @property
    def labelled(self) -> bool:
        return self.split not in self.spec.unlabelled

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | Draw) -> dict[str, Any]:
        draw = key if isinstance(key, Draw) else Draw(index=key, position=key)
        name = self.samples[draw.index].name
        image, label = self.read(draw.index)
        if label is None:
            return {"image": _to_tensor(image), "name": name}
        rng = draw.rng()
        if self.transform is not None:
            image, label = self.transform(image, label, draw.focus, rng)
        extras = self.extras(rng) if self.extras else {}
        return {"image": _to_tensor(image), "label": torch.from_numpy(label), "name": name, **extras}

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an image (H, W, 3) and its label (H, W) of train ids, as they were before any transform.

        Raises:
            DatasetError: a damaged file, two sizes, an id that the table does not name.
        """
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.label is None:
            return image, None
        label = self._read_train_ids(sample.label)
        if image.shape[:2] != label.shape:
            raise DatasetError(f"{sample.image} is {image.shape[0]}x{image.shape[1]} (height x width) but its label "
                               f"{sample.label} is {label.shape[0]}x{label.shape[1]}: the two must have one size. "
                               "Resize the one that is wrong, labels without interpolation.")
        return image, label

    def label(self, index: int) -> np.ndarray:
        """Returns the train ids (H, W) of one image, 255 where ignored, without reading the image."""
        path = self.samples[index].label
        assert path is not None
        return self._read_train_ids(path)

    def _read_train_ids(self, path: Path) -> np.ndarray:
        raw = read_label(path)
        label = cv2.LUT(raw, self.spec.lookup)
        unknown = label == UNKNOWN
        if unknown.any():
            counts = Counter(raw[unknown].tolist()).most_common(5)
            found = ", ".join(f"{raw_id} ({count} pixels)" for raw_id, count in counts)
            raise DatasetError(f"{path} holds ids that {self.spec.title} does not name: {found}. Check that --dataset "
                               f"{self.spec.name} fits these files; an id that is to be ignored goes into the table's "
                               f"ignored_raw_ids {SEE_DATASETS}.")
        return label


def read_image(path: Path, upright: bool = False) -> np.ndarray:
    """Reads a PNG, JPEG or WebP file as (H, W, 3) uint8 RGB; grey becomes three channels and alpha is dropped.

    Args:
        upright: turns the picture as its camera noted (EXIF). A dataset's images are not turned, because label files
            cannot carry an orientation.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged.
    """
    turned = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    image = _decode(path, _read_bytes(path), cv2.IMREAD_COLOR | turned)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_label(path: Path) -> np.ndarray:
    """Reads a grey or palette file of at most 8 bits as (H, W) uint8 ids, unchanged.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged, or holds colours or 16 bits.
    """
    data = _read_bytes(path)
    is_png = data.startswith(PNG_SIGNATURE)
    depth, colour_type = (data[24], data[25]) if is_png and len(data) > 25 else (8, 0)
    if colour_type == 3:
        data = _palette_as_grey(data)
    label = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or label.dtype != np.uint8:
        channels = 1 if label.ndim == 2 else label.shape[2]
        raise DatasetError(f"{path} is not a map of class ids: it has {channels} channel(s) of {8 * label.itemsize} "
                           "bits, but labels are grey or palette PNG files of 8 bits. Is it a picture for looking at?")
    return label if depth >= 8 else label // (255 // (2 ** depth - 1))      # decoding stretches 1, 2, 4 bits to 8


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): check the disk or copy it again.") from error


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    # Some releases of OpenCV return the first rows of a truncated file without an error: so its end is looked for.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if _is_complete(data) else None
    if decoded is None:
        raise DatasetError(f"{path} is truncated or damaged: its {len(data):,} bytes do not hold a whole image. "
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
    """Declares a palette PNG to be a grey one, so that decoding gives the indices; OpenCV offers only the colours.

    Source: PNG specification (W3C), 5 "Datastream structure" and 11.2.1 "IHDR": colour type 3 is palette, 0 is grey.
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


def find_samples(spec: DatasetSpec, root: Path, split: str) -> tuple[Sample, ...]:
    """Lists a split's images with their labels, sorted by path within each folder of the split.

    Raises:
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{spec.title}: {root} is {'not a folder' if root.exists() else 'missing'}. "
                                f"Point --data_root at {spec.hint} {SEE_DATASETS}.")
    found = [pair for folder in spec.splits[split] for pair in _find_folder(spec, root, split, folder)]
    if split in spec.unlabelled:
        found = [(stars, image, None) for stars, image, _ in found]
    stems = [stars[-1] for stars, _, _ in found]
    names = stems if len(set(stems)) == len(stems) else ["_".join(stars) for stars, _, _ in found]
    return tuple(Sample(name, image, label) for name, (_, image, label) in zip(names, found, strict=True))


def _find_folder(spec: DatasetSpec, root: Path, split: str,
                 folder: str) -> list[tuple[tuple[str, ...], Path, Path | None]]:
    for layout in spec.layouts:
        images = _match(layout, root, folder)
        if images:
            break
    else:
        raise FileNotFoundError(_describe_missing(spec, root, split, folder))
    # One listing instead of one look-up an image: network disks answer that much sooner.
    labels = set() if folder in spec.unlabelled else {*root.glob(layout.labels.replace("{split}", folder))}
    pairs = [(stars, image, root / _fill(layout.labels.replace("{split}", folder), stars)) for stars, image in images]
    lacking = [(image, label) for _, image, label in pairs if label not in labels]
    if lacking and folder not in spec.unlabelled:
        image, label = lacking[0]
        raise FileNotFoundError(f"{spec.title} {split}: {len(lacking)} of {len(pairs)} images have no label. The first "
                                f"is {image}; its label should be {label}. Add the labels or take the images away "
                                f"{SEE_DATASETS}.")
    return [(stars, image, label) for stars, image, label in pairs]


def _match(layout: Layout, root: Path, folder: str) -> list[tuple[tuple[str, ...], Path]]:
    """Returns what the stars of the image pattern match, and the path, of every image; hidden files are none."""
    pattern = layout.images.replace("{split}", folder)
    suffixes = "(?i:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"
    regex = re.compile(re.escape(pattern).replace(r"\*", r"((?!\.)[^/]*)").replace(r"\{suffix\}", suffixes))
    paths = sorted(root.glob(pattern.replace("{suffix}", ".*")))
    matches = ((regex.fullmatch(path.relative_to(root).as_posix()), path) for path in paths)
    return [(match.groups(), path) for match, path in matches if match]


def _fill(pattern: str, stars: tuple[str, ...]) -> str:
    for star in stars:
        pattern = pattern.replace("*", star, 1)
    return pattern


def _describe_missing(spec: DatasetSpec, root: Path, split: str, folder: str) -> str:
    suffixes = "{" + ",".join(IMAGE_SUFFIXES) + "}"
    wanted = " or ".join(layout.images.format(split=folder, suffix=suffixes) for layout in spec.layouts)
    names = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    held = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "nothing"
    near = [one for one in (root.parent, *sorted(root.iterdir())[:20]) if one.is_dir()
            and any(_match(layout, one, folder) for layout in spec.layouts)]
    point = f"{near[0]}, which holds them" if near else spec.hint
    return (f"{spec.title} {split}: no image matches {wanted} under {root}, which holds {held}. "
            f"Point --data_root at {point} {SEE_DATASETS}.")
