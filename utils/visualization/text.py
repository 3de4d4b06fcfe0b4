"""Draws text in any script.

OpenCV draws ASCII, and from release 5 on the letters of many scripts. Pillow draws what OpenCV has
no letters for, if a font on this machine has them.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger(__name__)

# size in pixels of a font of Pillow that is as large as OpenCV's at scale 1
PIXELS = 15
MISSING = "?"
# a code point that no font has a glyph for
NO_LETTER = "\U0010ffff"
# invisible characters that join or separate letters of Indic and Persian words
JOINERS = "\u200c\u200d"
FONT_FOLDERS = ("~/.local/share/fonts", "~/.fonts", "/usr/share/fonts", "/usr/local/share/fonts",
                "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
FONT_SUFFIXES = (".ttf", ".otf", ".ttc")
# font files that are looked through
MAX_FONTS = 400

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"


def width(text: str, scale: float) -> int:
    """Returns the width of a text in pixels."""
    text = printable(text)
    font = _font(text, scale)
    if font is not None:
        return round(font.getlength(text))
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, 1)[0][0] if text else 0


def draw(canvas: np.ndarray, text: str, left: int, baseline: int, scale: float,
         color: Sequence[int]) -> None:
    """Draws one line of text on a picture (H, W, 3).

    A letter that nothing on this machine can draw becomes a question mark, with a warning; so does,
    without one, what is no letter, such as a byte of a file name that is not UTF-8.
    """
    text = printable(text)
    font = _font(text, scale)
    if font is None:
        cv2.putText(canvas, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, color, 1,
                    cv2.LINE_AA)
        return
    picture = Image.fromarray(canvas)
    ImageDraw.Draw(picture).text((left, baseline), text, tuple(color), font, anchor="ls")
    canvas[:] = np.asarray(picture)


def printable(text: str) -> str:
    """Returns the text with a question mark for each character that cannot be drawn or printed.

    Python reads a byte of a file name that is not UTF-8 as a lone surrogate, with which OpenCV
    crashes.
    """
    return "".join(letter if letter.isprintable() or letter in JOINERS else MISSING
                   for letter in text)


def _font(text: str, scale: float) -> Font | None:
    """Returns a font of Pillow if OpenCV has no letters for the text, and a font has them."""
    letters = "".join(sorted({letter for letter in text if not letter.isascii()} - {*JOINERS}))
    if not letters or _opencv_has(letters):
        return None
    path = _font_with(letters)
    if path is None:
        _warn_once(letters)
        return None
    return _load(path, scale)


@lru_cache(maxsize=256)
def _opencv_has(letters: str) -> bool:
    """Whether OpenCV draws each letter other than the question mark of those that it lacks."""
    if int(cv2.__version__.split(".")[0]) < 5:
        return False
    missing = _drawn_by_opencv(MISSING)
    return not any(np.array_equal(_drawn_by_opencv(letter), missing) for letter in letters)


def _drawn_by_opencv(letter: str) -> np.ndarray:
    canvas = np.zeros((48, 64, 3), np.uint8)
    cv2.putText(canvas, letter, (8, 32), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255))
    return canvas


@lru_cache(maxsize=256)
def _font_with(letters: str) -> str | None:
    """Returns the file of the first font that has all the letters, "" for the one of Pillow."""
    return next((path for path in ("", *_font_files()) if _has(path, letters)), None)


def _has(path: str, letters: str) -> bool:
    try:
        font = _load(path, 1.0)
        missing = bytes(font.getmask(NO_LETTER))
        return not any(bytes(font.getmask(letter)) == missing for letter in letters)
    # a damaged font, or one that Pillow without FreeType cannot read
    except (OSError, ValueError, UnicodeError):
        return False


@lru_cache(maxsize=64)
def _load(path: str, scale: float) -> Font:
    size = PIXELS * scale
    return ImageFont.truetype(path, round(size)) if path else ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """Returns the fonts of this machine, upright sans serif ones first."""
    files = sorted(set(_find_fonts()), key=_rank)
    return tuple(files[:MAX_FONTS])


def _find_fonts() -> Iterator[str]:
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith(FONT_SUFFIXES):
                    yield str(Path(parent) / name)


def _rank(path: str) -> tuple[int, str]:
    name = Path(path).name.lower()
    styled = any(style in name for style in ("bold", "italic", "oblique", "mono", "condensed",
                                             "serif", "light", "black", "thin"))
    return styled + ("sans" not in name), path


@lru_cache(maxsize=1)
def _warn_once(letters: str) -> None:
    log.warning("no font on this machine has the letters %s, which are drawn as %s: install a font "
                "that has them, such as Noto Sans, or OpenCV 5", letters[:20], MISSING)
