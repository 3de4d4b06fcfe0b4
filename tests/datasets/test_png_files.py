"""Decoding PNG images with pyspng: OpenCV's pixels, and None where OpenCV has to look."""
import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.image_files import MAX_PIXELS
from datasets.png_files import ANIMATION, _decoder, decode_rgb

needs_pyspng = pytest.mark.skipif(_decoder() is None,
                                  reason="pyspng is not installed: pip install '.[png]'")
NOISE = np.random.default_rng(0).integers(0, 256, (23, 37, 3), dtype=np.uint8)
SMOOTH = cv2.resize(NOISE[:4, :4], (37, 23), interpolation=cv2.INTER_LINEAR)


def encoded(image: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", **settings)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return (struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content)))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Inserts a chunk behind the header, which ends at byte 33."""
    return data[:33] + chunk(kind, content) + data[33:]


def opencv(data: bytes) -> np.ndarray | None:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else decoded[..., ::-1]


@needs_pyspng
@pytest.mark.parametrize("image", [NOISE, SMOOTH, NOISE[:1], NOISE[:, :1]])
@pytest.mark.parametrize("writer", ["Pillow", "OpenCV"])
def test_the_pixels_are_those_of_opencv_and_can_be_changed(image: np.ndarray, writer: str) -> None:
    data = encoded(image) if writer == "Pillow" else (
        cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    decoded = decode_rgb(data, MAX_PIXELS)
    assert decoded is not None and decoded.dtype == np.uint8
    assert np.array_equal(decoded, opencv(data)) and np.array_equal(decoded, image)
    decoded[0, 0] = 1


@needs_pyspng
@pytest.mark.parametrize(("kind", "content"), [
    (b"gAMA", struct.pack(">I", 22_000)), (b"sBIT", b"\5\6\5"), (b"tRNS", b"\0\1\0\2\0\3"),
    (b"bKGD", bytes(6)), (b"PLTE", bytes(30)), (b"tEXt", b"a\0b"), (b"iCCP", b"a\0\0no profile"),
])
def test_further_chunks_change_no_pixel(kind: bytes, content: bytes) -> None:
    data = with_chunk(encoded(SMOOTH), kind, content)
    assert np.array_equal(decode_rgb(data, MAX_PIXELS), opencv(data))


@needs_pyspng
def test_bytes_behind_the_end_are_ignored() -> None:
    assert np.array_equal(decode_rgb(encoded(SMOOTH) + bytes(99), MAX_PIXELS), SMOOTH)


@pytest.mark.parametrize("data", [
    b"", b"\x89PNG\r\n\x1a\n", encoded(NOISE[..., 0]), encoded(NOISE[:, ::2, [0, 1, 2, 0]]),
    cv2.imencode(".png", NOISE.astype(np.uint16) * 257)[1].tobytes(),
    cv2.imencode(".jpg", NOISE)[1].tobytes(),
    with_chunk(encoded(SMOOTH), ANIMATION, struct.pack(">II", 1, 0)),
    # an unknown critical chunk, which no decoder may ignore
    with_chunk(encoded(SMOOTH), b"ABCD", b"x"),
])
def test_other_files_are_left_to_opencv(data: bytes) -> None:
    assert decode_rgb(data, MAX_PIXELS) is None


def test_an_image_of_too_many_pixels_is_left_to_opencv() -> None:
    assert decode_rgb(encoded(SMOOTH), 23 * 37 - 1) is None


def test_damaged_files_are_left_to_opencv() -> None:
    data = encoded(SMOOTH)
    for position in range(8, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        assert decode_rgb(bytes(damaged), MAX_PIXELS) is None, position
        assert decode_rgb(data[:position], MAX_PIXELS) is None


def test_without_pyspng_every_file_is_left_to_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    _decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "pyspng", None)
    assert decode_rgb(encoded(SMOOTH), MAX_PIXELS) is None
    _decoder.cache_clear()


def test_a_broken_pyspng_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pyspng.py").write_text("raise OSError('libz.so.1 is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyspng", raising=False)
    _decoder.cache_clear()
    for _ in range(2):
        assert decode_rgb(encoded(SMOOTH), MAX_PIXELS) is None
    _decoder.cache_clear()
    [message] = caplog.messages
    assert message.startswith("pyspng is installed but cannot be imported (OSError: libz.so.1 is")
