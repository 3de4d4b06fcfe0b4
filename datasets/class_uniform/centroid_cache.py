"""Class centroids stored between runs, in a file that is valid for exactly one set of labels."""
from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

from datasets.reader import SegmentationDataset
from utils.files import write_bytes

VERSION = 1                 # to be increased whenever the points are chosen in another way
ROW_DTYPE = np.dtype("<i4")

log = logging.getLogger(__name__)


class CentroidCache:
    """A file of centroids.

    Its first line is JSON with the key and a checksum; the rows (image, train id, x, y) follow as
    little-endian int32.

    Args:
        key: identifies the labels, as returned by `cache_key`.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key

    @classmethod
    def of(cls, data: SegmentationDataset, tile: int, folder: Path) -> CentroidCache:
        """Returns the cache of a dataset's labels for tiles of a given side in pixels."""
        key = cache_key(data, tile)
        return cls(folder / f"centroids_{data.spec.name}_{data.split}_{key[:16]}.bin", key)

    def read(self) -> np.ndarray | None:
        """Returns the rows, (n, 4) int32; None if there is no file.

        Also None, with a warning, if the file cannot be read or is truncated.
        """
        try:
            header, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the class centroids in %s cannot be read (%s): computing them again",
                        self.path, error.strerror)
            return None
        if header != self._header(body):
            log.warning("the class centroids in %s are truncated or of other labels: computing "
                        "them again", self.path)
            return None
        return np.frombuffer(body, ROW_DTYPE).reshape(-1, 4).astype(np.int32)

    def write(self, rows: np.ndarray) -> None:
        """Stores the rows, completely or not at all. Warns if the folder is not writable."""
        body = rows.astype(ROW_DTYPE).tobytes()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, self._header(body) + b"\n" + body)
        except OSError as error:
            log.warning("the class centroids cannot be written to %s (%s), so the next run has to "
                        "compute them again: give --cache_dir a writable folder",
                        self.path.parent, error.strerror)

    def _header(self, body: bytes) -> bytes:
        return json.dumps({"key": self.key, "sha256": hashlib.sha256(body).hexdigest()}).encode()


def cache_key(data: SegmentationDataset, tile: int) -> str:
    """Returns a hash of everything that the centroids depend on.

    That is the tile, the maps from raw ids to train ids, and the name, size and time of change of
    each label file. Names are relative to the root, so that a dataset may be moved.

    Raises:
        OSError: a label file is missing.
    """
    # a merged dataset has several specs
    specs = {id(sample.spec): sample.spec for sample in data.samples}
    order = {key: position for position, key in enumerate(specs)}
    settings = [VERSION, tile, *(spec.mapping for spec in specs.values())]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for sample in data.samples:
        assert sample.label is not None
        status = sample.label.stat()
        name = sample.label.relative_to(data.root).as_posix()
        row = [name, status.st_size, status.st_mtime_ns, order[id(sample.spec)]]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
