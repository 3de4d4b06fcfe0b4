"""The output folder of an evaluation: per-image results that can be resumed, sharded and merged."""
from __future__ import annotations

import io
import json
import logging
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from utils import distributed
from utils.files import make_folder, write_bytes, write_text
from utils.locks import locked
from utils.visualization.rendering import SUBFOLDERS

log = logging.getLogger(__name__)

RUN, RESULT, PARTS = "run.json", "per_image.npz", "parts"
# seconds between two saves: the most work that a crash loses
SAVE_INTERVAL = 20.0


@dataclass(frozen=True)
class Record:
    """The result of one image.

    Attributes:
        index: index of the image in the split.
        name: name of the image.
        matrix: (K, K) confusion counts, rows are labels; zeros without labels.
        boundary: (T, K) boundary F at each threshold, NaN for a class without boundaries; None if
            boundaries are not scored.
        calibration: (3, B) counts of `calibration.count`; None if it is not scored.
        border: (K, K) counts of `trimap.count`; None if borders are not scored apart.
    """

    index: int
    name: str
    matrix: np.ndarray
    boundary: np.ndarray | None = None
    calibration: np.ndarray | None = None
    border: np.ndarray | None = None


class Records:
    """The output folder of one evaluation, written by any number of processes, shards and sessions.

    `run.json` identifies the evaluation. Every process writes its results to `parts/`, several
    images per file. When all images are there, `merge_parts` writes `per_image.npz`, in the order
    of the split: `names` (M,), `matrices` (M, K, K) int32 with labels in rows, `classes` (K,), and
    if boundaries were scored `boundary_f` (M, T, K) float64 with `thresholds` (T,); if the
    calibration was scored `calibration` (M, 3, B) float64; if borders were scored apart `border`
    (M, K, K) int32; if images are correlated `groups` (M,).

    As a context manager it saves on exit, also after an error, and lets other processes write.

    Attributes:
        KIND, FOLDER_FLAG: what the folder holds, and the flag that names it, for messages.
        DERIVED: files that are computed from the result, and removed with it.

    Args:
        run: everything that the scores depend on, in JSON types; among it `images`, the number of
            images, and `classes`, their names.
        shard: (index, count), counted from 0.
        settings: for information. They may differ between the shards of one evaluation, as the
            folder of the data does.
    """

    KIND, FOLDER_FLAG = "evaluation", "--ckpt_path"
    DERIVED: tuple[str, ...] = ("scores.json", "submission.zip", "calibration.png")

    def __init__(self, folder: Path, run: Mapping[str, Any], shard: tuple[int, int] = (0, 1),
                 settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.settings = dict(settings or {})
        # JSON turns tuples into lists: `run` must equal what is read back
        self.run: dict[str, Any] = json.loads(json.dumps(dict(run)))
        self.shard = shard
        self.pending: list[Record] = []
        self.claim = ExitStack()
        self.saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path) -> Records:
        """Returns the records in the output folder of an evaluation.

        Raises:
            FileNotFoundError: the folder holds no evaluation.
            ValueError: `run.json` is damaged.
        """
        path = folder / RUN
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {RUN}, so eval.py wrote nothing there: "
                                    "give its output folder.")
        run, settings = _read_run(path)
        return cls(folder, run, settings=settings)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        with self.claim:
            self.save()

    def prepare_folder(self, resume: bool, replace: bool) -> None:
        """Makes the folder and writes `run.json`; without `resume` removes this shard's results.

        Args:
            replace: whether another evaluation may be overwritten, with a warning.

        Raises:
            ValueError: the folder holds another evaluation, or a finished one, of which a single
                shard would replace a part.
            FileExistsError: another process is writing this shard.
        """
        path = self.folder / RUN
        if self.shard[1] > 1 and not resume and (self.folder / RESULT).is_file():
            raise ValueError(f"{self.folder} holds a finished {self.KIND}, which one shard cannot "
                             "replace: keep it with --resume, choose another "
                             f"{self.FOLDER_FLAG}, or remove {self.folder / RESULT} and run every "
                             "shard anew.")
        changes = differences(_read_run(path)[0], self.run) if path.is_file() else []
        if changes and (resume or not replace):
            raise ValueError(f"{self.folder} holds another {self.KIND} ({'; '.join(changes)}): "
                             f"choose another {self.FOLDER_FLAG} or remove that folder.")
        self._claim_parts()
        if changes:
            log.warning("%s holds another %s (%s), which this one overwrites; %s FOLDER keeps "
                        "both", self.folder, self.KIND, "; ".join(changes), self.FOLDER_FLAG)
            for pictures in SUBFOLDERS:
                shutil.rmtree(self.folder / pictures, ignore_errors=True)
        if not resume:
            self._remove_results(all_shards=bool(changes))
        write_text(path, json.dumps({**self.run, "settings": self.settings}, indent=2) + "\n")

    def _claim_parts(self) -> None:
        """Keeps other processes from writing this shard, until the context of `self` ends."""
        path = self.folder / PARTS / f"{self._prefix()}.lock"
        make_folder(path.parent, self.FOLDER_FLAG)
        # of an earlier start
        self.claim.close()
        self.claim.enter_context(locked(
            path, f"another process is writing the {self.KIND} in {self.folder}: wait until it has "
                  f"ended, or choose another {self.FOLDER_FLAG}."))
        self.claim.callback(path.unlink, missing_ok=True)

    def start(self, resume: bool, replace: bool) -> list[int]:
        """Prepares the folder, and returns the indices of this shard's images without a result.

        All processes must call it; they get the same indices. For `resume`, `replace` and the
        errors see `prepare_folder`.
        """
        if distributed.is_main():
            self.prepare_folder(resume, replace)
        distributed.barrier()
        finished = {record.index for record in self.stream()} if resume else set()
        # no process writes before all have read
        distributed.barrier()
        index, count = self.shard
        missing = [i for i in range(index, self.run["images"], count) if i not in finished]
        if finished and distributed.is_main():
            log.info("%s: %d images have results, %d are left to do", self.folder, len(finished),
                     len(missing))
        return missing

    def add(self, record: Record) -> None:
        """Adds the result of one more image; saves if the last save was long ago."""
        self.pending.append(record)
        if time.monotonic() - self.saved_at > SAVE_INTERVAL:
            self.save()

    def save(self) -> None:
        """Writes the images added since the last save as one more part."""
        if self.pending:
            name = f"{self._prefix()}_{self.pending[0].index:06}.npz"
            indices = [record.index for record in self.pending]
            _write(self.folder / PARTS / name, self.pending, index=indices)
            self.pending = []
        self.saved_at = time.monotonic()

    def read(self) -> dict[int, Record]:
        """Returns the saved results by index, in the order of the split.

        Raises:
            ValueError: a part is damaged.
        """
        return dict(sorted((record.index, record) for record in self.stream()))

    def stream(self) -> Iterator[Record]:
        """Yields the saved result of each image once, with a single file in memory at a time.

        Raises:
            ValueError: a part is damaged.
        """
        seen: set[int] = set()
        for path in [self.folder / RESULT, *sorted((self.folder / PARTS).glob("*.npz"))]:
            # another shard may be merging the parts at this moment
            with suppress(FileNotFoundError):
                for record in _read(path):
                    if record.index not in seen:
                        seen.add(record.index)
                        yield record

    def merge_parts(self, records: Iterable[Record]) -> None:
        """Writes the results of all images as `per_image.npz` and removes the parts."""
        extra: dict[str, Any] = {"classes": self.run["classes"]}
        if self.run.get("thresholds"):
            extra["thresholds"] = self.run["thresholds"]
        if self.run.get("groups"):
            extra["groups"] = self.run["groups"]
        _write(self.folder / RESULT, list(records), **extra)
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)

    def _prefix(self) -> str:
        index, count = self.shard
        return f"{index}of{count}"

    def _remove_results(self, all_shards: bool) -> None:
        # other shards of the same evaluation may be running
        pattern = "*.npz" if all_shards else f"{self._prefix()}_*.npz"
        parts = (self.folder / PARTS).glob(pattern)
        for path in [*parts, *(self.folder / name for name in (RESULT, *self.DERIVED))]:
            path.unlink(missing_ok=True)


def differences(run: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns "NAME: VALUE, not OTHER VALUE" for each entry in which two evaluations differ."""
    return [f"{name}: {_shorten(run.get(name))}, not {_shorten(other.get(name))}"
            for name in sorted({*run, *other}) if run.get(name) != other.get(name)]


def read_arrays(path: Path, needed: Sequence[str] = ("names", "matrices"),
                remedy: str = "remove it and go on with --resume.") -> dict[str, np.ndarray]:
    """Reads a part, `per_image.npz` or another file of arrays.

    Args:
        needed: names of the arrays that the file must hold.
        remedy: ends the error message about a damaged file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or lacks an array.
    """
    try:
        with np.load(path) as file:
            arrays = dict(file)
        for name in needed:
            # raises the KeyError that is caught below
            arrays[name]
        return arrays
    except FileNotFoundError:
        raise
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error


def _read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the scores depend on, and the settings."""
    try:
        run = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove its folder and evaluate again.") from error
    return run, run.pop("settings", {})


def _shorten(value: Any, limit: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else text[:limit] + "..."


def _write(path: Path, records: list[Record], **arrays: Any) -> None:
    """Writes records and further arrays as a compressed .npz file."""
    if records and all(record.boundary is not None for record in records):
        arrays["boundary_f"] = np.stack([np.asarray(record.boundary) for record in records])
    if records and all(record.calibration is not None for record in records):
        arrays["calibration"] = np.stack([np.asarray(record.calibration) for record in records])
    if records and all(record.border is not None for record in records):
        arrays["border"] = np.stack([np.asarray(record.border) for record in records]
                                    ).astype(np.int32)
    names = np.array([record.name for record in records], dtype=np.str_)
    matrices = np.stack([record.matrix for record in records]).astype(np.int32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=names, matrices=matrices, **arrays)
    write_bytes(path, buffer.getvalue())


def _read(path: Path) -> list[Record]:
    arrays = read_arrays(path)
    names, matrices = arrays["names"], arrays["matrices"]
    indices = arrays.get("index", np.arange(len(names)))
    boundaries = arrays.get("boundary_f", [None] * len(names))
    calibrations = arrays.get("calibration", [None] * len(names))
    borders = arrays.get("border", [None] * len(names))
    rows = zip(indices, names, matrices, boundaries, calibrations, borders, strict=True)
    return [Record(int(index), str(name), matrix, boundary, calibration, border)
            for index, name, matrix, boundary, calibration, border in rows]
