"""Run-length encoded masks: COCO's, which go down the columns, and CVAT's, which go along the rows.

COCO's compressed strings are written by pycocotools (the extra `labels`). They are read here,
because pycocotools 2.0.11 takes runs that add up to fewer pixels than the mask has.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def expand(counts: Sequence[int], size: int) -> np.ndarray:
    """Returns (size,) bool: runs of 0 and 1 in turn, beginning with a run of 0.

    Raises:
        ValueError: a run is negative, or they do not add up to the size.
    """
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or runs.sum() != size:
        raise ValueError(f"the runs add up to {runs.sum():,} pixels, but the mask has {size:,}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def decode_coco(counts: list[int] | str, height: int, width: int) -> np.ndarray:
    """Returns the mask (height, width) bool of COCO's `counts`, a list or a compressed string.

    Raises:
        ValueError: they belong to a mask of another size, or are damaged.
    """
    runs = counts if isinstance(counts, list) else decompress(counts)
    return expand(runs, height * width).reshape(width, height).T


def decompress(text: str) -> list[int]:
    """Returns the runs of COCO's compressed string.

    A character is 48 plus six bits: five of a number, the lowest first, and one that is set if the
    number goes on. Numbers are signed; from the fourth on they are differences to the run before
    the last one.

    Raises:
        ValueError: the string is damaged.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"the compressed mask has the character {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("the compressed mask is truncated")
    return runs


def encode_coco(mask: np.ndarray) -> dict[str, Any]:
    """Returns a mask (H, W) as COCO's `segmentation`: size and compressed counts.

    Raises:
        ImportError: pycocotools is not installed.
    """
    from pycocotools import mask as coco_mask
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def decode_rows(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Returns the mask (height, width) bool of CVAT's runs, which go along the rows.

    Raises:
        ValueError: they belong to a mask of another size.
    """
    return expand(counts, height * width).reshape(height, width)
