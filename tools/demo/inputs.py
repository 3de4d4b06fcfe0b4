"""Finds the images, videos, cameras and pipes that the demo's `--input` names."""
from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets.listing import IMAGE_SUFFIXES
from tools.demo.frames import VIDEO_SUFFIXES

log = logging.getLogger("demo")

PIPE = "-"
CAMERA = re.compile(r"camera:(\d+)")
# of the images that are taken from a folder: all that OpenCV reads by default
PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, ".bmp", ".tif", ".tiff", ".gif")

# a file, or PIPE, or a string that CAMERA matches
Input = Path | str


def find_inputs(names: Iterable[str]) -> dict[str, Input]:
    """Returns name -> input, in order.

    A file's name is its stem; if two stems are equal, the second gets an underscore.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds neither image nor video.
    """
    sources: list[Input] = []
    for name in names:
        if name == PIPE or CAMERA.fullmatch(name):
            sources.append(name)
        else:
            sources += _files(Path(name))
    named: dict[str, Input] = {}
    for source in dict.fromkeys(sources):
        name = _name(source)
        while name in named:
            name += "_"
        named[name] = source
    return named


def is_clip(source: Input) -> bool:
    """Returns whether an input is a sequence of frames, not an image."""
    return isinstance(source, str) or source.suffix.lower() in VIDEO_SUFFIXES


def _name(source: Input) -> str:
    if isinstance(source, Path):
        return source.stem
    return "stdin" if source == PIPE else source.replace(":", "")


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(
            f"--input {path} does not exist: give an image, a video, a folder of them, camera:0, "
            "or - for a pipe."
        )
    if not path.is_dir():
        return [path]
    entries = sorted(path.iterdir())
    # links whose target is gone are among the files, and are reported when they are read
    files = [entry for entry in entries if _is_media(entry)]
    _report_left_out(path, [entry for entry in entries if entry not in files])
    if files:
        return files
    subfolder = next((entry for entry in entries if entry.is_dir()), None)
    advice = "Name the folder that holds them."
    if subfolder:
        advice = f"Subfolders are not searched: name one, such as {subfolder}."
    raise FileNotFoundError(
        f"--input {path} holds no image ({' '.join(PICTURE_SUFFIXES)}) and no video "
        f"({' '.join(VIDEO_SUFFIXES)}). {advice}"
    )


def _is_media(entry: Path) -> bool:
    """Whether an entry of a folder is named as an image or a video; hidden files are not.

    macOS writes `._a.jpg` beside `a.jpg` on foreign disks, which is no image.
    """
    is_hidden = entry.name.startswith(".")
    is_file = entry.is_file() or entry.is_symlink()
    return is_file and not is_hidden and entry.suffix.lower() in PICTURE_SUFFIXES + VIDEO_SUFFIXES


def _report_left_out(folder: Path, entries: Sequence[Path], most: int = 3) -> None:
    files = [entry.name for entry in entries if not entry.is_dir()]
    if files:
        more = ", ..." if len(files) > most else ""
        log.warning("%s: %d files are left out, which are hidden or named neither as an image nor "
                    "as a video: %s%s", folder, len(files), ", ".join(files[:most]), more)
