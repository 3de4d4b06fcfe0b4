"""Finds the images, videos, cameras and pipes that the demo's `--input` names."""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from datasets.listing import IMAGE_SUFFIXES
from tools.demo.frames import VIDEO_SUFFIXES

PIPE = "-"
CAMERA = re.compile(r"camera:(\d+)")

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
    """Whether an input is a sequence of frames, not an image."""
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
    suffixes = IMAGE_SUFFIXES + VIDEO_SUFFIXES
    entries = sorted(path.iterdir())
    files = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in suffixes]
    if files:
        return files
    subfolder = next((entry for entry in entries if entry.is_dir()), None)
    advice = "Name the folder that holds them."
    if subfolder:
        advice = f"Subfolders are not searched: name one, such as {subfolder}."
    raise FileNotFoundError(
        f"--input {path} holds no image ({' '.join(IMAGE_SUFFIXES)}) and no video "
        f"({' '.join(VIDEO_SUFFIXES)}). {advice}"
    )
