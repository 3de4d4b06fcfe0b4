"""A packed copy of a split: each pair as one raw file that is mapped into memory.

Therefore a crop reads only its own pixels. A folder made by `tools.pack_dataset` holds
pairs/<n>.raw, the pixels (H, W, 3) of an image followed by its train ids (H, W), and pack.json,
which identifies the files that they were made from. The pairs are not compressed: decoding is most
of the time of loading a sample (docs/reference.md).
"""
from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.reader import SegmentationDataset
from datasets.spec import BadSample, DatasetError

FORMAT = "sfsegnets-pack/1"
MANIFEST, JOURNAL, PAIRS, LOCK = "pack.json", "journal.jsonl", "pairs", "lock"
CREATE_REMEDY = "create it with: python -m tools.pack_dataset"
BYTES_PER_PIXEL = 4         # red, green, blue and the train id

Source = tuple[str, int, int]               # path below the root, bytes, time of change in ns
Origin = tuple[tuple[Source, ...], str]     # image and label file; hash of the label's mapping


@dataclass(frozen=True)
class Entry:
    """One packed pair.

    Args:
        file: path below the folder of the pack.
        height, width: in pixels.
        crc32: of the bytes of the file.
        sources: the image file and the label file that it was made from.
        mapping: hash of the map from the label's raw ids to train ids.
    """

    file: str
    height: int
    width: int
    crc32: int
    sources: tuple[Source, ...]
    mapping: str

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Entry:
        sources = tuple((path, size, time) for path, size, time in fields["sources"])
        return cls(**{**fields, "sources": sources})

    @property
    def origin(self) -> Origin:
        return self.sources, self.mapping

    @property
    def num_pixels(self) -> int:
        return self.height * self.width

    @property
    def num_bytes(self) -> int:
        return BYTES_PER_PIXEL * self.num_pixels


class Pack:
    """The finished pack of a split; a `PairSource` of its dataset.

    Raises:
        DatasetError: the folder holds no finished pack, or it is truncated, damaged, or made from
            other data.
    """

    def __init__(self, folder: str | Path, dataset: SegmentationDataset) -> None:
        self.folder = Path(folder).expanduser()
        manifest = read_manifest(self.folder)
        if manifest is None:
            if (self.folder / JOURNAL).exists():
                problem = ("is not finished: run the same tools.pack_dataset command again, which "
                           "continues where it stopped")
            else:
                problem = f"holds no {MANIFEST}: {CREATE_REMEDY}"
            raise DatasetError(f"--packed {self.folder} {problem}.")
        check_settings(self.folder, manifest["settings"], dataset)
        self.entries = [Entry.from_json(fields) for fields in manifest["entries"]]
        self._check_sources(dataset)
        self._check_sizes()

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image (H, W, 3) and its label (H, W), memory-mapped and read-only.

        Raises:
            BadSample: the file was removed or truncated after the start.
        """
        entry = self.entries[index]
        try:
            with (self.folder / entry.file).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise BadSample(self._damaged(entry, str(error))) from error
        data = np.frombuffer(mapped, np.uint8)
        if len(data) != entry.num_bytes:
            raise BadSample(self._damaged(entry, f"{len(data):,} of {entry.num_bytes:,} bytes"))
        image, label = np.split(data, [3 * entry.num_pixels])
        return (image.reshape(entry.height, entry.width, 3),
                label.reshape(entry.height, entry.width))

    def label(self, index: int) -> np.ndarray:
        """Returns the label (H, W) of one image, as `read` does."""
        return self.read(index)[1]

    def verify(self) -> Iterable[str]:
        """Reads every byte; yields for each pair an error message, or "" if it is unchanged."""
        for entry in self.entries:
            unchanged = zlib.crc32((self.folder / entry.file).read_bytes()) == entry.crc32
            yield "" if unchanged else self._damaged(entry, "its checksum differs")

    def _check_sources(self, dataset: SegmentationDataset) -> None:
        origins = [origin(dataset, index) for index in range(len(dataset))]
        changed = [(entry, current) for entry, current in zip(self.entries, origins, strict=False)
                   if entry.origin != current]
        if not changed and len(origins) == len(self.entries):
            return
        if changed:
            entry, (sources, mapping) = changed[0]
            example = _difference(entry, sources, mapping)
        else:
            example = f"{len(self.entries)} pairs then, {len(origins)} now"
        raise DatasetError(
            f"--packed {self.folder} belongs to other files than those of {dataset.spec.title} "
            f"{dataset.split} under {dataset.root} ({len(changed)} of {len(self.entries)} pairs; "
            f"{example}): run tools.pack_dataset again with the same flags, which packs the "
            "changed files again.")

    def _check_sizes(self) -> None:
        pairs = self.folder / PAIRS
        sizes = {}
        if pairs.is_dir():
            sizes = {f"{PAIRS}/{file.name}": file.stat().st_size for file in os.scandir(pairs)}
        for entry in self.entries:
            size = sizes.get(entry.file, 0)
            if size != entry.num_bytes:
                raise DatasetError(self._damaged(entry, f"{size:,} of {entry.num_bytes:,} bytes"))

    def _damaged(self, entry: Entry, reason: str) -> str:
        return (f"--packed: {self.folder / entry.file} is truncated or damaged ({reason}): run "
                "tools.pack_dataset again with the same flags, which packs damaged files again.")


def pack_settings(dataset: SegmentationDataset) -> dict[str, Any]:
    """Returns the entry "settings" of pack.json, which identifies the packed split."""
    return {"format": FORMAT, "dataset": dataset.spec.name, "split": dataset.split}


def check_settings(folder: Path, settings: dict[str, Any], dataset: SegmentationDataset) -> None:
    """Raises DatasetError if the settings of a pack are those of another dataset or split."""
    differences = [f"{key} {settings.get(key)} instead of {value}"
                   for key, value in pack_settings(dataset).items() if settings.get(key) != value]
    if differences:
        raise DatasetError(f"the pack in {folder} belongs to other data: {', '.join(differences)}. "
                           f"Give the folder of the right pack, or {CREATE_REMEDY} and another "
                           "--out.")


def origin(dataset: SegmentationDataset, index: int) -> Origin:
    """Returns what a packed pair depends on: its files, and the map of the label's raw ids.

    Raises:
        DatasetError: a file is missing.
    """
    sample = dataset.samples[index]
    sources = []
    for path in filter(None, (sample.image, sample.label)):
        try:
            status = path.stat()
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}): check the disk or copy "
                               "it again.") from error
        name = path.relative_to(dataset.root).as_posix()
        sources.append((name, status.st_size, status.st_mtime_ns))
    mapping = hashlib.sha256(repr(sample.spec.mapping).encode()).hexdigest()[:16]
    return tuple(sources), mapping


def manifest_text(settings: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the text of pack.json."""
    body = {"settings": settings, "entries": [asdict(entry) for entry in entries]}
    return json.dumps({"sha256": _digest(body), **body}) + "\n"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns the content of pack.json, without its checksum; None if there is no file.

    Raises:
        DatasetError: the file is truncated or damaged.
    """
    path = folder / MANIFEST
    remedy = f"delete {folder} and {CREATE_REMEDY}"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        is_intact = manifest.pop("sha256") == _digest(manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path} is truncated or damaged ({error}): {remedy}.") from error
    if not is_intact:
        raise DatasetError(f"{path} is damaged (its checksum differs): {remedy}.")
    return manifest


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _difference(entry: Entry, sources: tuple[Source, ...], mapping: str) -> str:
    """Returns an example of how a pair's origin has changed."""
    for old, new in zip(entry.sources, sources, strict=True):
        if old[0] != new[0]:
            return f"for example {old[0]} then, {new[0]} now"
        if old[1] != new[1]:
            return f"for example {new[0]} was changed since, from {old[1]:,} to {new[1]:,} bytes"
        if old != new:
            return (f"for example {new[0]} was written again since, with the same "
                    f"{new[1]:,} bytes: its time is {_time(new[2])} and was {_time(old[2])}")
    return f"for example the ids of {sources[1][0]} were mapped to other train ids then"


def _time(nanoseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(nanoseconds / 1e9))
