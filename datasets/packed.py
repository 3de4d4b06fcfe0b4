"""A packed copy of a split: each pair as one raw file that is mapped into memory, so a crop costs its own pixels only.

A folder made by `tools.pack_dataset` holds pairs/<n>.raw, the pixels (H, W, 3) of an image and then its train ids
(H, W), and pack.json, which says of what they were made. Raw rather than compressed: see docs/benchmarks.md.
"""
from __future__ import annotations

import hashlib
import json
import mmap
import os
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
MAKE_ANEW = "make it with: python -m tools.pack_dataset"

Source = tuple[str, int, int]                               # path below the root, bytes, time of change in ns
Origin = tuple[tuple[Source, ...], str]                     # image and label file; hash of the label's mapping


@dataclass(frozen=True)
class Entry:
    """One packed pair: its file, size in pixels and CRC-32, the two files it was made of, and a hash of the mapping of
    its label to train ids.
    """

    file: str
    height: int
    width: int
    crc32: int
    sources: tuple[Source, ...]
    mapping: str

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Entry:
        return cls(**{**fields, "sources": tuple((path, size, time) for path, size, time in fields["sources"])})

    @property
    def origin(self) -> Origin:
        return self.sources, self.mapping

    @property
    def pixels(self) -> int:
        return self.height * self.width


class Pack:
    """The finished pack of a dataset's split.

    Raises:
        DatasetError: the folder holds no finished pack, one that is truncated or damaged, or one of other data.
    """

    def __init__(self, folder: str | Path, dataset: SegmentationDataset) -> None:
        self.folder = Path(folder).expanduser()
        manifest = read_manifest(self.folder)
        if manifest is None:
            state = ("is not finished: run the same tools.pack_dataset again, it goes on where it stopped"
                     if (self.folder / JOURNAL).exists() else f"holds no {MANIFEST}: {MAKE_ANEW}")
            raise DatasetError(f"--packed {self.folder} {state}.")
        check_settings(self.folder, manifest["settings"], dataset)
        self.entries = [Entry.from_json(fields) for fields in manifest["entries"]]
        self._check_sources(dataset)
        self._check_sizes()

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the image (H, W, 3) and the label (H, W), mapped and read-only: nothing is read before it is used.

        Raises:
            BadSample: the file went away or was cut since the start.
        """
        entry = self.entries[index]
        try:
            with (self.folder / entry.file).open("rb") as file:
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except (OSError, ValueError) as error:
            raise BadSample(self._damaged(entry, str(error))) from error
        if len(data) != 4 * entry.pixels:
            raise BadSample(self._damaged(entry, f"{len(data):,} of {4 * entry.pixels:,} bytes"))
        size = (entry.height, entry.width)
        return data[: 3 * entry.pixels].reshape(*size, 3), data[3 * entry.pixels :].reshape(size)

    def label(self, index: int) -> np.ndarray:
        return self.read(index)[1]

    def verify(self) -> Iterable[str]:
        """Reads every byte; yields "" for each pair that is as it was written and what is wrong with each other."""
        for entry in self.entries:
            whole = zlib.crc32((self.folder / entry.file).read_bytes()) == entry.crc32
            yield "" if whole else self._damaged(entry, "its checksum differs")

    def _check_sources(self, dataset: SegmentationDataset) -> None:
        now = [origin(dataset, index) for index in range(len(dataset))]
        others = [(entry, there) for entry, there in zip(self.entries, now, strict=False) if entry.origin != there]
        if others or len(now) != len(self.entries):
            then = f"{len(self.entries)} pairs then, {len(now)} now"
            example = _difference(others[0][0], *others[0][1]) if others else then
            raise DatasetError(f"--packed {self.folder} belongs to other files than those of {dataset.spec.title} "
                               f"{dataset.split} under {dataset.root} ({len(others)} of {len(self.entries)} pairs; "
                               f"{example}): run tools.pack_dataset again with the same flags, it packs anew what "
                               "has changed.")

    def _check_sizes(self) -> None:
        pairs = self.folder / PAIRS
        sizes = {f"{PAIRS}/{one.name}": one.stat().st_size for one in os.scandir(pairs)} if pairs.is_dir() else {}
        for entry in self.entries:
            if sizes.get(entry.file) != 4 * entry.pixels:
                raise DatasetError(self._damaged(entry, f"{sizes.get(entry.file, 0):,} of {4 * entry.pixels:,} bytes"))

    def _damaged(self, entry: Entry, what: str) -> str:
        return (f"--packed: {self.folder / entry.file} is truncated or damaged ({what}): run tools.pack_dataset again "
                "with the same flags, it packs anew what is damaged.")


def settings_of(dataset: SegmentationDataset) -> dict[str, Any]:
    """Returns what a pack is of."""
    return {"format": FORMAT, "dataset": dataset.spec.name, "split": dataset.split}


def check_settings(folder: Path, found: dict[str, Any], dataset: SegmentationDataset) -> None:
    """Raises DatasetError where a pack was made of another dataset or split."""
    wanted = settings_of(dataset)
    other = [f"{key} {found.get(key)} instead of {value}" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise DatasetError(f"the pack in {folder} belongs to other data: {', '.join(other)}. Give the folder of the "
                           f"right pack, or {MAKE_ANEW} and another --out.")


def origin(dataset: SegmentationDataset, index: int) -> Origin:
    """Returns what tells whether a pair is still the one that was packed.

    Raises:
        DatasetError: a file is gone.
    """
    sample = dataset.samples[index]
    sources = []
    for path in filter(None, (sample.image, sample.label)):
        try:
            stat = path.stat()
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}): check the disk or copy it again.") from error
        sources.append((path.relative_to(dataset.root).as_posix(), stat.st_size, stat.st_mtime_ns))
    return tuple(sources), hashlib.sha256(repr(sample.table.mapping).encode()).hexdigest()[:16]


def write_manifest(settings: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the text of pack.json."""
    body = {"settings": settings, "entries": [asdict(entry) for entry in entries]}
    return json.dumps({"sha256": _digest(body), **body}) + "\n"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns what pack.json says; None where there is none.

    Raises:
        DatasetError: it is truncated or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        whole = manifest.pop("sha256") == _digest(manifest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path} is truncated or damaged ({error}): delete {folder} and {MAKE_ANEW}.") from error
    if not whole:
        raise DatasetError(f"{path} is damaged (its checksum differs): delete {folder} and {MAKE_ANEW}.")
    return manifest


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _difference(entry: Entry, sources: tuple[Source, ...], mapping: str) -> str:
    for old, new in zip(entry.sources, sources, strict=True):
        if old[0] != new[0]:
            return f"for example {old[0]} then, {new[0]} now"
        if old != new:
            return f"for example {new[0]} was changed since, from {old[1]:,} to {new[1]:,} bytes"
    return f"for example the ids of {sources[1][0]} became other train ids then"
