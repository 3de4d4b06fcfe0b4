"""Draws procedural street scenes in the layout of Cityscapes: `python -m tools.make_streets --out DIR`."""
from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shlex
import shutil
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from tools.make_streets import SMALLEST, VERSION, draw
from utils.cli import FlagParser, positive_int, size
from utils.files import write_text

MANIFEST = "streets.json"
CITY = "streets"
SPLITS = ("train", "val", "test")
FIRST_TEST = 1 << 31                                        # index of the first test scene
BYTES_PER_PIXEL = 2.5                                        # of both files together; noise compresses badly


class StreetsError(Exception):
    """The scenes cannot be written; the message says what to do."""


@dataclass(frozen=True)
class Scene:
    """One scene and its files; a test scene's label is nowhere, as on a benchmark's server.

    Splits share no index: train scenes are the even ones, val scenes the odd ones, test scenes lie beyond.
    """

    root: Path
    seed: int
    size: tuple[int, int]
    split: str
    number: int

    @property
    def index(self) -> int:
        if self.split == "test":
            return FIRST_TEST + self.number
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

    def _path(self, folder: str, kind: str) -> Path:
        return self.root / folder / self.split / CITY / f"{CITY}_{self.number:06d}_000000_{kind}.png"

    def finished(self) -> bool:
        return all(path.is_file() for path in self.files)


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
    """Writes beside and renames, so that a file with its final name is always whole."""
    data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.tobytes())
    part.replace(path)


def make_streets(out: Path, counts: dict[str, int], size: tuple[int, int], seed: int, workers: int) -> int:
    """Writes the scenes that are not there yet.

    Args:
        counts: scenes by split; a split that is not named is left as it is.
        size: (height, width) in pixels.

    Returns:
        How many scenes were drawn now.

    Raises:
        StreetsError: the folder holds something else, cannot be written, or the disk is full.
    """
    _claim(out, size, seed, counts)
    scenes = [Scene(out, seed, size, split, number) for split in counts for number in range(counts[split])]
    for folder in {path.parent for scene in scenes for path in scene.files}:
        _make_folder(folder)
    missing = [scene for scene in scenes if not scene.finished()]
    _check_space(out, len(missing), size)
    try:
        with tqdm(total=len(scenes), initial=len(scenes) - len(missing), desc="street scenes", unit="img",
                  disable=None) as bar:
            for _ in _written(missing, workers):
                bar.update()
    except BrokenProcessPool:
        raise StreetsError("a worker process was killed, perhaps for want of memory: run the same command again with "
                           "fewer --workers; it goes on where it stopped.") from None
    except OSError as error:
        raise StreetsError(_unwritable(out, error)) from error
    return len(missing)


def _written(scenes: Sequence[Scene], workers: int) -> Iterator[None]:
    if workers == 1 or len(scenes) < 2:
        yield from map(write_scene, scenes)
        return
    # A forked worker has torch and OpenCV loaded already; elsewhere than on Linux forking is not safe.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        try:
            yield from pool.map(write_scene, scenes, chunksize=4)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _claim(out: Path, size: tuple[int, int], seed: int, counts: dict[str, int]) -> None:
    """Signs a new folder with a manifest, or checks an existing folder's one.

    Raises:
        StreetsError: the folder holds other scenes or something else.
    """
    settings = {"dataset": "streets", "version": VERSION, "seed": seed, "height": size[0], "width": size[1]}
    manifest = out / MANIFEST
    if manifest.is_file():
        found = _read(manifest)
        other = [f"{key} {found.get(key)} instead of {value}"
                 for key, value in settings.items() if found.get(key) != value]
        if other:
            raise StreetsError(f"{out} holds scenes drawn with other settings ({', '.join(other)}): "
                               "give the same settings, another --out, or delete that folder.")
        for split, count in counts.items():
            extra = len(list((out / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))) - count
            if extra > 0:
                raise StreetsError(f"{out} holds {extra} {split} scenes more than --{split} {count}, and all "
                                   f"would count: give --{split} {count + extra}, or another --out.")
        return
    if out.is_dir() and any(out.iterdir()):
        raise StreetsError(f"{out} is not empty and holds no {MANIFEST}, so it is not a folder of this program: "
                           "give --out a new folder.")
    _make_folder(out)
    try:
        write_text(manifest, json.dumps(settings, indent=1) + "\n")
    except OSError as error:
        raise StreetsError(_unwritable(out, error)) from error


def _read(manifest: Path) -> dict[str, object]:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StreetsError(f"{manifest} cannot be read ({error}): delete {manifest.parent} or give another --out."
                           ) from error
    return found if isinstance(found, dict) else {}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StreetsError(_unwritable(folder, error)) from error


def _check_space(out: Path, scenes: int, size: tuple[int, int]) -> None:
    needed, free = scenes * size[0] * size[1] * BYTES_PER_PIXEL, shutil.disk_usage(out).free
    if needed > free:
        raise StreetsError(f"{scenes} scenes of {size[0]}x{size[1]} need about {needed / 1e6:.0f} MB and {out} has "
                           f"{free / 1e6:.0f} MB free: free some space, ask for fewer or smaller scenes, or give "
                           "another --out.")


def _unwritable(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (f"the disk is full at {error.filename or path}: free some space and run the same command again; "
                "it goes on where it stopped.")
    return f"cannot write in {path} ({error.strerror or error}): give --out a folder that you may write to."


def parse(words: Iterable[str] | None = None) -> Namespace:
    parser = FlagParser(prog="python -m tools.make_streets", description=__doc__)
    group = parser.add_argument_group("Scenes")
    group.add_argument("--out", type=Path, required=True, help="folder to write; an interrupted run goes on in it")
    group.add_argument("--train", type=positive_int, default=1000, help="scenes to train on")
    group.add_argument("--val", type=positive_int, default=100, help="scenes to score; none is a training scene")
    group.add_argument("--test", type=positive_int, help="scenes without labels, to practise a submission")
    group.add_argument("--size", type=_scene_size, default=(256, 512), metavar="HxW", help="height and width in pixels")
    group.add_argument("--seed", type=_seed, default=0, help="another seed draws other scenes")
    group.add_argument("--workers", type=positive_int, default=os.cpu_count() or 1, help="processes that draw")
    return parser.parse_args(None if words is None else list(words))


def _scene_size(text: str) -> tuple[int, int]:
    height, width = size(text)
    if min(height, width) < SMALLEST:
        raise ArgumentTypeError(f"a street scene needs at least {SMALLEST}x{SMALLEST} pixels, not {height}x{width}")
    return height, width


def _seed(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def main(words: Iterable[str] | None = None) -> None:
    args = parse(words)
    cv2.setNumThreads(0)                                     # before any fork; one process draws on one core
    started = time.monotonic()
    try:
        counts = {split: vars(args)[split] for split in SPLITS if vars(args)[split]}
        drawn = make_streets(args.out, counts, args.size, args.seed, args.workers)
    except StreetsError as error:
        sys.exit(f"make_streets: {error}")
    except KeyboardInterrupt:
        print("make_streets: interrupted; run the same command again and it goes on where it stopped.", file=sys.stderr)
        sys.exit(130)
    seconds = time.monotonic() - started
    pace = f"{drawn} drawn in {seconds:.0f} s, {drawn / seconds:.0f} a second" if drawn else "all were there already"
    print(f"{args.out}: {args.train} scenes to train on, {args.val} to score ({pace}).\n"
          f"Train on them: sh scripts/train/train_streets_sfnet_dfv1.sh --data_root {shlex.quote(str(args.out))}")


if __name__ == "__main__":
    main()
