"""Class centroids kept between runs, in a file that is used only for exactly the labels it was made from."""
from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np

from datasets.reader import SegmentationDataset

VERSION = 1                                                 # another way to choose the points is another version
ROW = np.dtype("<i4")

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Returns the user's cache folder for this project (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sfsegnets"


class CentroidCache:
    """One file: a line of JSON with the key and the checksum, then the rows (image, train id, x, y) as they are.

    Args:
        key: of the labels, as `key_of` gives it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key

    @classmethod
    def of(cls, data: SegmentationDataset, tile: int, folder: Path) -> CentroidCache:
        key = key_of(data, tile)
        return cls(folder / f"centroids_{data.spec.name}_{data.split}_{key[:16]}.bin", key)

    def read(self) -> np.ndarray | None:
        """Returns the rows, (n, 4) int32; None, with a word in the log where a file is of no use, when there are none.
        """
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the class centroids in %s cannot be read (%s): finding them anew", self.path, error.strerror)
            return None
        if head != self._head(body):
            log.warning("the class centroids in %s are truncated or of other labels: finding them anew", self.path)
            return None
        return np.frombuffer(body, ROW).reshape(-1, 4).astype(np.int32)

    def write(self, rows: np.ndarray) -> None:
        """Keeps the rows, whole or not at all; where the folder cannot be written, only warns."""
        body = rows.astype(ROW).tobytes()
        beside = self.path.with_suffix(f".{os.getpid()}.tmp")               # several runs may start at once
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    file.write(self._head(body) + b"\n" + body)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self.path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the class centroids cannot be kept in %s (%s), so the next start has to find them again: give "
                        "--cache_dir a folder that can be written", self.path.parent, error.strerror)

    def _head(self, body: bytes) -> bytes:
        return json.dumps({"key": self.key, "sha256": hashlib.sha256(body).hexdigest()}).encode()


def key_of(data: SegmentationDataset, tile: int) -> str:
    """Returns a hash of all that the centroids depend on: names, sizes and times of the labels, mapping and tile.

    Names are relative to the root, so that a dataset may move.

    Raises:
        OSError: a label is not there.
    """
    tables = {id(sample.table): sample.table for sample in data.samples}       # a merged dataset has several
    order = {key: place for place, key in enumerate(tables)}
    digest = hashlib.sha256(json.dumps([VERSION, tile, *(table.mapping for table in tables.values())]).encode())
    for sample in data.samples:
        assert sample.label is not None
        status = sample.label.stat()
        name = sample.label.relative_to(data.root).as_posix()
        digest.update(json.dumps([name, status.st_size, status.st_mtime_ns, order[id(sample.table)]]).encode())
    return digest.hexdigest()
