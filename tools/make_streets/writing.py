"""Writes scenes to a folder in the layout of Cityscapes; an interrupted run is continued."""
from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from tools.make_streets.scene import VERSION, draw
from utils.files import write_text

MANIFEST = "streets.json"
CITY = "streets"
SPLITS = ("train", "val", "test")
FIRST_TEST_INDEX = 1 << 31
BYTES_PER_PIXEL = 2.5       # of image and label together; PNG does not compress noise


class StreetsError(ValueError):
    """The scenes cannot be written; the message contains the remedy."""


@dataclass(frozen=True)
class Scene:
    """One scene and its files. A test scene has no label file.

    No two splits share an index: train scenes have the even indices below 2^31, val scenes the odd
    ones, and test scenes those from 2^31 on.
    """

    root: Path
    seed: int
    size: tuple[int, int]
    split: str
    number: int

    @property
    def index(self) -> int:
        if self.split == "test":
            return FIRST_TEST_INDEX + self.number
        return 2 * self.number + SPLITS.index(self.split)

    @property
    def image(self) -> Path:
        return self._path("leftImg8bit", "leftImg8bit")

    @property
    def label(self) -> Path | None:
        return None if self.split == "test" else self._path("gtFine", "gtFine_labelIds")

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.label, self.image) if path]

    def is_finished(self) -> bool:
        return all(path.is_file() for path in self.files)

    def _path(self, folder: str, kind: str) -> Path:
        name = f"{CITY}_{self.number:06d}_000000_{kind}.png"
        return self.root / folder / self.split / CITY / name


def write_scene(scene: Scene) -> None:
    """Draws a scene and writes its files, the image last.

    Raises:
        OSError: a file cannot be written.
    """
    image, label_ids = draw(scene.seed, scene.index, scene.size)
    if scene.label:
        _write_png(scene.label, label_ids)
    _write_png(scene.image, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes a temporary file and renames it, so that a file with the final name is complete."""
    data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data.tobytes())
    temporary.replace(path)


def make_streets(out: Path, counts: dict[str, int], size: tuple[int, int], seed: int,
                 workers: int) -> int:
    """Draws and writes the scenes that do not exist yet.

    Args:
        counts: split -> number of scenes; a split that is not named is left as it is.
        size: (height, width) in pixels.

    Returns:
        The number of scenes drawn.

    Raises:
        StreetsError: the folder holds other files, is not writable, or the disk is full.
    """
    _prepare_folder(out, size, seed, counts)
    scenes = [Scene(out, seed, size, split, number)
              for split in counts for number in range(counts[split])]
    for folder in {path.parent for scene in scenes for path in scene.files}:
        _make_folder(folder)
    missing = [scene for scene in scenes if not scene.is_finished()]
    _check_space(out, len(missing), size)
    progress = tqdm(total=len(scenes), initial=len(scenes) - len(missing), desc="street scenes",
                    unit="img", disable=None)
    try:
        with progress:
            for _ in _write_scenes(missing, workers):
                progress.update()
    except BrokenProcessPool:
        raise StreetsError("a worker process was killed, perhaps because the memory was too small: "
                           "run the same command again with fewer --workers; it continues where "
                           "it stopped.") from None
    except OSError as error:
        raise StreetsError(_describe_failure(out, error)) from error
    return len(missing)


def _write_scenes(scenes: Sequence[Scene], workers: int) -> Iterator[None]:
    if workers == 1 or len(scenes) < 2:
        yield from map(write_scene, scenes)
        return
    # A forked worker has torch and OpenCV loaded already, but forking is safe on Linux only.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(0,))
    with pool:
        try:
            yield from pool.map(write_scene, scenes, chunksize=4)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _prepare_folder(out: Path, size: tuple[int, int], seed: int, counts: dict[str, int]) -> None:
    """Writes the manifest of a new folder, or checks that of an existing one.

    Raises:
        StreetsError: the folder holds other scenes or other files.
    """
    settings = {"dataset": "streets", "version": VERSION, "seed": seed, "height": size[0],
                "width": size[1]}
    manifest = out / MANIFEST
    if manifest.is_file():
        _check_settings(manifest, settings)
        _check_counts(out, counts)
        return
    if out.is_dir() and any(out.iterdir()):
        raise StreetsError(f"{out} is not empty and holds no {MANIFEST}, so this program did not "
                           "write it: give --out a new folder.")
    _make_folder(out)
    try:
        write_text(manifest, json.dumps(settings, indent=1) + "\n")
    except OSError as error:
        raise StreetsError(_describe_failure(out, error)) from error


def _check_settings(manifest: Path, settings: dict[str, Any]) -> None:
    try:
        existing = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StreetsError(f"{manifest} cannot be read ({error}): delete {manifest.parent} or give "
                           "another --out.") from error
    if not isinstance(existing, dict):
        existing = {}
    differences = [f"{key} {existing.get(key)} instead of {value}"
                   for key, value in settings.items() if existing.get(key) != value]
    if differences:
        raise StreetsError(f"{manifest.parent} holds scenes drawn with other settings "
                           f"({', '.join(differences)}): give the same settings, another --out, or "
                           "delete that folder.")


def _check_counts(out: Path, counts: dict[str, int]) -> None:
    for split, count in counts.items():
        images = (out / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")
        extra = len(list(images)) - count
        if extra > 0:
            raise StreetsError(f"{out} holds {extra} {split} scenes more than --{split} {count}, "
                               f"and all of them would be used: give --{split} {count + extra}, or "
                               "another --out.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StreetsError(_describe_failure(folder, error)) from error


def _check_space(out: Path, num_scenes: int, size: tuple[int, int]) -> None:
    needed = num_scenes * size[0] * size[1] * BYTES_PER_PIXEL
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StreetsError(f"{num_scenes} scenes of {size[0]}x{size[1]} need about "
                           f"{needed / 1e6:.0f} MB and {out} has {free / 1e6:.0f} MB free: free "
                           "some space, ask for fewer or smaller scenes, or give another --out.")


def _describe_failure(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (f"the disk is full at {error.filename or path}: free some space and run the same "
                "command again; it continues where it stopped.")
    return (f"cannot write in {path} ({error.strerror or error}): give --out a folder that you may "
            "write to.")
