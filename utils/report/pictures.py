"""Pictures as text for a page: data URIs of limited size."""
from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np

from utils import IGNORE_LABEL
from utils.visualization.label_maps import WRONG

# RGBA
TRANSPARENT = (0, 0, 0, 0)
# of ignored pixels
DARK = (16, 18, 22, 215)
# alpha of a color that marks pixels of the image
TINT_ALPHA = 225
ONLY_A, ONLY_B, BOTH_WRONG = (0, 168, 150), (240, 140, 30), (128, 70, 190)


def jpeg(picture: np.ndarray, quality: int = 82) -> str:
    """Returns an (H, W, 3) uint8 RGB picture as a data URI."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _data_uri("image/jpeg", data.tobytes())


def gray_png(ids: np.ndarray) -> str:
    """Returns an (H, W) uint8 map as the data URI of a gray PNG, whose values a page can read."""
    return _data_uri("image/png", cv2.imencode(".png", ids)[1].tobytes())


def palette_png(indices: np.ndarray, colors: np.ndarray) -> str:
    """Returns an (H, W) uint8 map of indices as the data URI of a PNG with a palette.

    A label map is a third of its size as RGB, and OpenCV cannot write palettes. Source: PNG
    specification (W3C), 5 "Datastream structure" and 11 "Chunk specifications"; color type 3, 8
    bits, no filter.

    Args:
        colors: (256, 4) uint8 RGBA.
    """
    height, width = indices.shape
    num_colors = int(indices.max()) + 1
    # each row starts with the number of its filter, 0
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = indices
    chunks = (
        _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _png_chunk(b"PLTE", colors[:num_colors, :3].tobytes()),
        _png_chunk(b"tRNS", colors[:num_colors, 3].tobytes()),
        _png_chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
        _png_chunk(b"IEND", b""),
    )
    return _data_uri("image/png", b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def label_colors(palette: np.ndarray) -> np.ndarray:
    """Returns (256, 4) uint8 RGBA of train ids: opaque class colors, ignored pixels transparent."""
    colors = np.concatenate([palette, np.full((256, 1), 255, np.uint8)], axis=1)
    colors[IGNORE_LABEL] = TRANSPARENT
    return colors


def errors(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns a map of indices into `ERROR_COLORS`: 0 right, 1 wrong, 2 ignored."""
    return np.where(labels == IGNORE_LABEL, 2, predictions != labels).astype(np.uint8)


def disagreement(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns a map of indices into `DISAGREEMENT_COLORS`.

    0: both models right, 1: only A right, 2: only B right, 3: both wrong, 4: ignored.
    """
    cases = [labels == IGNORE_LABEL, (a == labels) & (b == labels), a == labels, b == labels]
    return np.select(cases, [4, 0, 1, 2], 3).astype(np.uint8)


def _color_table(*colors: tuple[int, ...]) -> np.ndarray:
    table = np.zeros((256, 4), np.uint8)
    table[:len(colors)] = colors
    return table


ERROR_COLORS = _color_table(TRANSPARENT, (*WRONG, TINT_ALPHA), DARK)
DISAGREEMENT_COLORS = _color_table(TRANSPARENT, (*ONLY_A, TINT_ALPHA), (*ONLY_B, TINT_ALPHA),
                                   (*BOTH_WRONG, TINT_ALPHA), DARK)


def shrink(picture: np.ndarray, width: int) -> np.ndarray:
    """Returns a picture (H, W, 3) or a map of ids (H, W) at most `width` wide."""
    if picture.shape[1] <= width:
        return picture
    size = width, max(1, round(picture.shape[0] * width / picture.shape[1]))
    is_map = picture.ndim == 2
    return cv2.resize(picture, size,
                      interpolation=cv2.INTER_NEAREST if is_map else cv2.INTER_AREA)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
