"""What a file is, and where an image in it ends."""

import cv2
import numpy as np
import pytest

from datasets.file_kinds import (
    JPEG,
    PNG,
    REMEDIES,
    WEBP,
    image_end,
    is_lossy_webp,
    kind_of,
    remedy_for,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encode(suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, PICTURE, flags)[1].tobytes()


@pytest.mark.parametrize(("suffix", "kind"), [
    (".png", "PNG"), (".jpg", "JPEG"), (".webp", "WebP"), (".tif", "TIFF"), (".bmp", "BMP"),
    (".ppm", "PNM"),
])
def test_the_kind_of_an_image_is_that_of_its_content(suffix: str, kind: str) -> None:
    assert kind_of(encode(suffix)) == kind


@pytest.mark.parametrize(("content", "kind"), [
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
    (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
    (b"RIFF\0\0\0\0AVI LIST", "RIFF"),
    (b"\n  <html>", "HTML"),
    (b"\xef\xbb\xbf<?xml", "SVG or XML"),
    (b"any text", ""),
    (b"", ""),
])
def test_files_that_are_no_readable_images_have_a_kind(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind
    assert remedy_for(kind) == REMEDIES.get(kind, "")


@pytest.mark.parametrize(("suffix", "kind"), [(".png", PNG), (".jpg", JPEG), (".webp", WEBP)])
def test_an_image_ends_where_its_format_says(suffix: str, kind: str) -> None:
    data = encode(suffix)
    assert image_end(data, kind) == len(data)
    assert image_end(data + b"more", kind) == len(data)
    assert image_end(data[:-1], kind) == 0


@pytest.mark.parametrize("flags", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
                                   (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_the_end_of_a_jpeg_is_found_behind_scans_and_restarts(flags: tuple[int, int]) -> None:
    data = encode(".jpg", *flags)
    assert image_end(data + bytes(9), JPEG) == len(data)


def test_a_video_behind_a_truncated_jpeg_does_not_complete_it() -> None:
    data = encode(".jpg")
    truncated = data[:len(data) // 2] + bytes(90)
    assert image_end(truncated + b"\0\0\0\x18ftyp", JPEG) == 0


def test_a_webp_of_quality_above_100_is_lossless() -> None:
    assert not is_lossy_webp(encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 101))
    assert is_lossy_webp(encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 90))
