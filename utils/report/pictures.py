"""Pictures as text that a page can hold: data URIs of bounded size."""
from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np

from utils import IGNORE_LABEL
from utils.visualization.label_maps import WRONG

TRANSPARENT = (0, 0, 0, 0)
DARK = (16, 18, 22, 215)                                    # over pixels that are not counted
TINTED = 225                                                # alpha of a color that marks pixels of the image
ONLY_A, ONLY_B, BOTH_WRONG = (0, 168, 150), (240, 140, 30), (128, 70, 190)


def jpeg(picture: np.ndarray, quality: int = 82) -> str:
    """Returns an (H, W, 3) RGB picture as a data URI."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _uri("image/jpeg", data.tobytes())


def grey_png(ids: np.ndarray) -> str:
    """Returns an (H, W) uint8 map as the data URI of a gray PNG, whose pixels a page can read back."""
    return _uri("image/png", cv2.imencode(".png", ids)[1].tobytes())


def palette_png(indices: np.ndarray, colors: np.ndarray) -> str:
    """Returns an (H, W) uint8 map of indices as the data URI of a PNG with a palette, which OpenCV cannot write.

    A label map is a third of its size as RGB. Source: PNG specification (W3C), 5 "Datastream structure", 11 "Chunk
    specifications": color type 3, 8 bits, no filter.

    Args:
        colors: (256, 4) uint8 RGBA.
    """
    height, width = indices.shape
    last = int(indices.max()) + 1
    rows = np.zeros((height, width + 1), np.uint8)                              # each row starts with its filter, 0
    rows[:, 1:] = indices
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
              (b"PLTE", colors[:last, :3].tobytes()), (b"tRNS", colors[:last, 3].tobytes()),
              (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _uri("image/png", b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks))


def label_colors(palette: np.ndarray) -> np.ndarray:
    """Returns (256, 4) RGBA of train ids: the classes' colors, and none where the truth is ignored."""
    colors = np.concatenate([palette, np.full((256, 1), 255, np.uint8)], axis=1)
    colors[IGNORE_LABEL] = TRANSPARENT
    return colors


def errors(predictions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns a map of `ERROR_COLORS`: 0 right, 1 wrong, 2 not counted."""
    return np.where(truth == IGNORE_LABEL, 2, predictions != truth).astype(np.uint8)


def disagreement(a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns a map of `DISAGREEMENT_COLORS`: 0 both right, 1 only A right, 2 only B right, 3 both wrong, 4 not
    counted."""
    cases = [truth == IGNORE_LABEL, (a == truth) & (b == truth), a == truth, b == truth]
    return np.select(cases, [4, 0, 1, 2], 3).astype(np.uint8)


def _table(*colors: tuple[int, ...]) -> np.ndarray:
    table = np.zeros((256, 4), np.uint8)
    table[:len(colors)] = colors
    return table


ERROR_COLORS = _table(TRANSPARENT, (*WRONG, TINTED), DARK)
DISAGREEMENT_COLORS = _table(TRANSPARENT, (*ONLY_A, TINTED), (*ONLY_B, TINTED), (*BOTH_WRONG, TINTED), DARK)


def shrink(picture: np.ndarray, width: int) -> np.ndarray:
    """Returns the picture, or a map of ids as such, at most so wide."""
    if picture.shape[1] <= width:
        return picture
    size = width, max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if picture.ndim == 3 else cv2.INTER_NEAREST)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
