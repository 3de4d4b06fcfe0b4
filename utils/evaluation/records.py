"""What an evaluation found, image by image: kept in parts while it runs, so that it can stop, go on and be shared."""
from __future__ import annotations

import io
import json
import logging
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import write_bytes, write_text
from utils.visualization.label_maps import SUBFOLDERS

log = logging.getLogger(__name__)

RUN, RESULT, PARTS = "run.json", "per_image.npz", "parts"
DERIVED = ("scores.json", "submission.zip")                 # written from the result; they go when it goes
SECONDS = 20.0                                              # at most so much work is lost in a crash


@dataclass(frozen=True)
class Record:
    """One image of a split.

    Attributes:
        index: its place in the split.
        matrix: (K, K) integer counts, rows the truth; zeros where there is no truth.
        boundary: (T, K) boundary F at each threshold, NaN for a class that is in neither map; None when not asked for.
    """

    index: int
    name: str
    matrix: np.ndarray
    boundary: np.ndarray | None = None


class Records:
    """The output folder of one evaluation, by any number of processes, shares and sittings.

    `run.json` says which evaluation it is. Every process leaves what it found in `parts/`, some images a file. When all
    are there, `finish` puts them into `per_image.npz`, in the order of the split: `names` (M,), `matrices` (M, K, K)
    int32 with the truth in rows, `classes` (K,), and where boundaries were scored `boundary_f` (M, T, K) float64 with
    `thresholds` (T,).

    Args:
        run: what decides the numbers, in JSON types; with `images`, how many there are, and `classes`, their names.
        share: (index, count) of the part of the images that is scored here.
        settings: further things worth knowing, in which the shares of one evaluation may differ (where the data lies).
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], share: tuple[int, int] = (0, 1),
                 settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.settings = dict(settings or {})
        self.run: dict[str, Any] = json.loads(json.dumps(dict(run)))            # as it will be read again
        self.share = share
        self.pending: list[Record] = []
        self.saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path) -> Records:
        """Returns the records of a folder that an evaluation began.

        Raises:
            FileNotFoundError: none did.
            ValueError: `run.json` is damaged.
        """
        path = folder / RUN
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {RUN}, so eval.py wrote nothing there: give its output folder.")
        run, settings = _read_run(path)
        return cls(folder, run, settings=settings)

    def claim(self, resume: bool, replace: bool) -> None:
        """Makes the folder this evaluation's, empty unless it resumes.

        Args:
            replace: whether the folder may be taken from another evaluation; that is then said.

        Raises:
            ValueError: the folder is another evaluation's.
        """
        path = self.folder / RUN
        other = differences(_read_run(path)[0], self.run) if path.is_file() else []
        if other and (resume or not replace):
            raise ValueError(f"{self.folder} holds another evaluation ({'; '.join(other)}): choose another --ckpt_path "
                             "or remove that folder.")
        if other:
            log.warning("%s held another evaluation (%s), which this one replaces; --ckpt_path FOLDER keeps both",
                        self.folder, "; ".join(other))
            for pictures in SUBFOLDERS:
                shutil.rmtree(self.folder / pictures, ignore_errors=True)
        if not resume:
            own = "*" if other else f"{self.share[0]}of{self.share[1]}_*"       # other shares may be at work beside
            made = [self.folder / name for name in (RESULT, *DERIVED)]
            for old in [*(self.folder / PARTS).glob(f"{own}.npz"), *made]:
                old.unlink(missing_ok=True)
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({**self.run, "settings": self.settings}, indent=2) + "\n")

    def add(self, record: Record) -> None:
        """Takes one more image, and saves those that have waited for long."""
        self.pending.append(record)
        if time.monotonic() - self.saved_at > SECONDS:
            self.save()

    def save(self) -> None:
        """Writes the images that were added since the last time as one more part."""
        if self.pending:
            name = f"{self.share[0]}of{self.share[1]}_{self.pending[0].index:06}.npz"
            _write(self.folder / PARTS / name, self.pending, index=[record.index for record in self.pending])
            self.pending = []
        self.saved_at = time.monotonic()

    def read(self) -> dict[int, Record]:
        """Returns what is saved, by index, in the order of the split.

        Raises:
            ValueError: a part is damaged.
        """
        found: dict[int, Record] = {}
        for path in [*sorted((self.folder / PARTS).glob("*.npz")), self.folder / RESULT]:
            with suppress(FileNotFoundError):               # another share may be finishing at this moment
                found.update((record.index, record) for record in _read(path))
        return dict(sorted(found.items()))

    def finish(self, records: Iterable[Record]) -> None:
        """Writes all images' records as `per_image.npz` and drops the parts."""
        extra = {"thresholds": self.run["thresholds"]} if self.run.get("thresholds") else {}
        _write(self.folder / RESULT, list(records), classes=self.run["classes"], **extra)
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns "name: its value, not the other" for each entry in which two evaluations differ."""
    return [f"{name}: {_short(one.get(name))}, not {_short(other.get(name))}"
            for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def _read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what decides the numbers, and the further settings."""
    try:
        run = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove its folder and score again.") from error
    return run, run.pop("settings", {})


def _short(value: Any, most: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= most else text[:most] + "..."


def _write(path: Path, records: list[Record], **arrays: Any) -> None:
    if all(record.boundary is not None for record in records) and records:
        arrays["boundary_f"] = np.stack([np.asarray(record.boundary) for record in records])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array([record.name for record in records], dtype=np.str_),
                        matrices=np.stack([record.matrix for record in records]).astype(np.int32), **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, needed: Sequence[str] = ("names", "matrices"),
                how: str = "remove it and go on with --resume.") -> dict[str, np.ndarray]:
    """Returns what a part, `per_image.npz` or another file of arrays holds.

    Args:
        needed: arrays without which it is another file.
        how: to mend a damaged one, said in the error.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    try:
        with np.load(path) as file:
            arrays = dict(file)
        for name in needed:
            arrays[name]                                    # a KeyError, caught below, where it is not there
        return arrays
    except FileNotFoundError:
        raise
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): {how}") from error


def _read(path: Path) -> list[Record]:
    arrays = read_arrays(path)
    names, matrices = arrays["names"], arrays["matrices"]
    indices = arrays.get("index", np.arange(len(names)))
    boundaries = arrays.get("boundary_f", [None] * len(names))
    return [Record(int(index), str(name), matrix, boundary)
            for index, name, matrix, boundary in zip(indices, names, matrices, boundaries, strict=True)]
