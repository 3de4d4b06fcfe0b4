"""How a pack should hold its pixels: raw, or in tiles that are compressed without loss. Disk space against time."""
from __future__ import annotations

import json
import statistics
import tempfile
import time
import zlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tools.benchmark.pair import cityscapes_sized
from transforms import RandomScaleCrop
from utils.cli import FlagParser, positive_int
from utils.cli import size as image_size
from utils.files import write_text

Codec = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, tuple[int, ...]], np.ndarray]]
Pixels = Any                                                # an array, or what is sliced like one


def deflate(pixels: np.ndarray) -> bytes:
    """Differences to the left neighbor, by zlib at its fastest."""
    left = np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1]))
    return zlib.compress(np.ascontiguousarray(left).tobytes(), 1)


def inflate(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    left = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
    return np.cumsum(left, axis=1, dtype=np.uint8)


def by_opencv(suffix: str, *flags: int) -> Codec:
    """An image format of OpenCV. WebP knows no gray, so a label comes back in three equal channels."""
    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        return pixels if pixels.shape == shape else pixels[..., 0]

    return lambda pixels: cv2.imencode(suffix, pixels, flags)[1].tobytes(), decode


CODECS: dict[str, Codec] = {
    "PNG": by_opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
    "WebP without loss": by_opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "zlib of differences": (deflate, inflate),
}


class Tiled:
    """An array of pixels in square tiles, each compressed by itself; what is sliced out of it is decoded then."""

    def __init__(self, pixels: np.ndarray, tile: int, codec: Codec) -> None:
        self.shape, self.tile = pixels.shape, tile
        self.decode = codec[1]
        self.tiles = {(top, left): codec[0](np.ascontiguousarray(pixels[top : top + tile, left : left + tile]))
                      for top in range(0, self.shape[0], tile) for left in range(0, self.shape[1], tile)}

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, columns = window
        tops, lefts = (range(part.start // self.tile * self.tile, part.stop, self.tile) for part in window)
        canvas = np.empty((min(tops[-1] + self.tile, self.shape[0]) - tops[0],
                           min(lefts[-1] + self.tile, self.shape[1]) - lefts[0], *self.shape[2:]), np.uint8)
        for top in tops:
            for left in lefts:
                place = canvas[top - tops[0] :, left - lefts[0] :][: self.tile, : self.tile]
                place[:] = self.decode(self.tiles[top, left], place.shape)
        return canvas[rows.start - tops[0] : rows.stop - tops[0], columns.start - lefts[0] : columns.stop - lefts[0]]

    @property
    def nbytes(self) -> int:
        return sum(map(len, self.tiles.values()))


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--picture", type=Path, metavar="FILE", help="frame that is enlarged for the pair; when not "
                        "given, a street is drawn")
    parser.add_argument("--crop_size", type=image_size, default=(1024, 1024), help="HEIGHTxWIDTH of the crops")
    parser.add_argument("--tile", type=positive_int, nargs="+", default=[128, 256], help="sides of tiles in pixels")
    parser.add_argument("--samples", type=positive_int, default=40, help="crops timed in each way")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to this file")


def run(args: Namespace) -> None:
    """Measures, and prints a table. Raises ValueError when the picture cannot serve."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        found = compare(*cityscapes_sized(args.picture), args)
    finally:
        cv2.setNumThreads(threads)
    print(f"a pair of 1024x2048, and the medians of {args.samples} crops of {args.crop_size[0]}x{args.crop_size[1]}")
    for name, (megabytes, milliseconds) in found.items():
        print(f"{name:32} {megabytes:6.2f} MB {milliseconds:8.2f} ms")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")


def compare(image: np.ndarray, label: np.ndarray, args: Namespace) -> dict[str, tuple[float, float]]:
    """Returns megabytes of the pair and median milliseconds of scaling and cropping it, by the way it is held."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("image", "label")]
        for path, pixels in zip(paths, (image, label), strict=True):
            path.write_bytes(pixels.tobytes())
        found["raw, mapped into memory"] = (image.nbytes + label.nbytes) / 1e6, timed(
            lambda: (np.memmap(paths[0], np.uint8, "r", shape=image.shape),
                     np.memmap(paths[1], np.uint8, "r", shape=label.shape)), args)
    for name, codec in CODECS.items():
        for tile in args.tile:
            pair = Tiled(image, tile, codec), Tiled(label, tile, codec)
            for held, pixels in zip(pair, (image, label), strict=True):
                assert (held[3 : pixels.shape[0], 5 : pixels.shape[1]] == pixels[3:, 5:]).all(), "a codec with a loss"
            size = sum(held.nbytes for held in pair)
            found[f"{name}, tiles of {tile}"] = size / 1e6, timed(partial(as_it_is, pair), args)
    return found


def as_it_is(pair: tuple[Pixels, Pixels]) -> tuple[Pixels, Pixels]:
    return pair


def timed(opened: Callable[[], tuple[Pixels, Pixels]], args: Namespace) -> float:
    """Returns the median milliseconds of opening a pair and taking a random crop of it; each way takes the same."""
    rng, crop = np.random.default_rng(0), RandomScaleCrop(args.crop_size)
    times = []
    for _ in range(args.samples):
        start = time.perf_counter()
        image, label = opened()
        crop(image, label, None, rng)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)
