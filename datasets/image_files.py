"""Decodes image and label files, with an error that names the format of a file it cannot use."""
from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets.file_kinds import (
    BMP,
    GIF,
    JPEG,
    LOSSY,
    PNG,
    PNM,
    TIFF,
    WEBP,
    image_end,
    is_lossy_webp,
    kind_of,
    remedy_for,
)
from datasets.png_files import decode_rgb
from datasets.spec import SEE_DATASETS, BadSample, DatasetError

PNG_PALETTE = 3             # color type in a PNG header
# the formats whose end `image_end` finds
STREAMS = (PNG, JPEG, WEBP)
# kind -> Pillow's name of the format
PILLOW_FORMATS = {PNG: "PNG", JPEG: "JPEG", WEBP: "WEBP", TIFF: "TIFF", BMP: "BMP", GIF: "GIF",
                  PNM: "PPM"}
# numbers of TIFF tags and of TIFF compressions that change values (TIFF 6.0 and its supplements)
TIFF_BITS, TIFF_COMPRESSION, TIFF_PHOTOMETRIC = 258, 259, 262
TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000",
              34887: "LERC", 34892: "JPEG", 50001: "WebP", 50002: "JPEG XL"}
MIN_IS_WHITE = 0
EXIF_ORIENTATION = 0x0112
# OpenCV reads no larger image
MAX_PIXELS = 1 << 30
# An image of 16 bits whose largest value is below this uses at most 14 of them: it would become
# nearly black, because the upper 8 bits are read.
LEAST_OF_16_BITS = 1 << 14
APPLY_ORIENTATION = (
    "python -c \"import sys; from PIL import Image, ImageOps; [ImageOps.exif_transpose("
    "Image.open(f)).save(f, quality=95) for f in sys.argv[1:]]\" FILES")


def read_image(path: Path | str, upright: bool = False) -> np.ndarray:
    """Reads an image file as (H, W, 3) uint8 RGB.

    Gray becomes three channels and alpha is dropped; of 16 bits, the upper 8 are read. Bytes behind
    the end of the image are ignored.

    Args:
        upright: rotates the image as its EXIF orientation says. Images of a dataset are not
            rotated, because label files carry no orientation.

    Raises:
        DatasetError: the file cannot be read, is truncated, damaged, too large or no image, or its
            values use at most 14 of 16 bits.
    """
    path = Path(path)
    data = _read_bytes(path)
    flags = cv2.IMREAD_COLOR
    if not upright:
        decoded = decode_rgb(data, MAX_PIXELS)
        if decoded is not None:
            return decoded
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    image = _decode_colors(path, data, flags)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_label(path: Path, colors: bool = False) -> np.ndarray:
    """Reads the values of a label file, unchanged.

    Args:
        colors: the file encodes each class as a color.

    Returns:
        (H, W) ids: uint8 from a gray or palette file of at most 8 bits, uint16 from a gray file of
        16 bits. Values of 1, 2 and 4 bits are 0 to 1, 3 and 15. With `colors`, (H, W) uint32 of
        red << 16 | green << 8 | blue.

    Raises:
        DatasetError: the file cannot be read, is truncated or damaged, is in a lossy format, or
            holds colors where ids are expected.
    """
    data = _read_bytes(path)
    kind = kind_of(data)
    _check_lossless(path, data, kind)
    if colors:
        bgr = _decode_colors(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        # the bytes B, G, R, A are the little-endian number A << 24 | R << 16 | G << 8 | B
        bgra = cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
        return bgra.view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    has_palette = kind == PNG and data[25:26] == bytes([PNG_PALETTE])
    if (kind != PNG and kind in PILLOW_FORMATS) or has_palette:
        return _decode_ids(path, data, kind)
    label = _decode(path, data, kind, cv2.IMREAD_UNCHANGED)
    if kind != PNG:
        raise DatasetError(f"{path} is of a format in which labels are not read: write them again "
                           f"as PNG {SEE_DATASETS}.")
    if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
        channels = 1 if label.ndim == 2 else label.shape[2]
        raise _no_ids(path, f"{channels} channel(s) of {8 * label.itemsize} bits")
    depth = data[24]
    if depth < 8:
        # OpenCV stretches values of 1, 2 and 4 bits to 0..255
        label //= 255 // (2 ** depth - 1)
    return label


def image_size(path: Path) -> tuple[int, int]:
    """Returns (height, width) of an image file as stored, from its header.

    Raises:
        DatasetError: the file cannot be read, is truncated, damaged or no image.
    """
    data = _read_bytes(path)
    kind = kind_of(data)
    height, width = _declared_size(data, kind)
    is_whole = kind not in STREAMS or image_end(data, kind)
    if not (height and width and is_whole):
        raise _unusable(path, data, kind)
    return height, width


def exif_orientation(path: Path) -> int:
    """Returns the EXIF orientation of an image file, 1 to 8; 1 if it has none or is unreadable."""
    try:
        with path.open("rb") as file, _without_size_limit(), \
                Image.open(file, formats=tuple(PILLOW_FORMATS.values())) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    # Pillow may raise any exception for a damaged file
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSample(f"{path} cannot be read ({error.strerror}): check the disk or copy it "
                        "again.") from error


def _decode_colors(path: Path, data: bytes, flags: int) -> np.ndarray:
    """Decodes as (H, W, 3) uint8 BGR; refuses images that do not use their 16 bits."""
    kind = kind_of(data)
    if kind not in (*STREAMS, GIF):
        _load_with_pillow(path, data, kind)
    if (kind == PNG and len(data) > 25 and data[24] == 16) or kind not in STREAMS:
        values = _decode(path, data, kind, flags | cv2.IMREAD_ANYDEPTH)
        _check_range(path, values)
        if values.dtype == np.uint8:
            return values
    return _decode(path, data, kind, flags)


def _check_range(path: Path, values: np.ndarray) -> None:
    if values.dtype == np.uint8:
        return
    if values.dtype != np.uint16:
        raise DatasetError(f"{path} holds {values.dtype} numbers, whose range is unknown: convert "
                           "it to 8 bits per channel, with values from 0 to 255.")
    largest = int(values.max())
    if 0 < largest < LEAST_OF_16_BITS:
        bits = largest.bit_length()
        raise DatasetError(
            f"{path} is an image of 16 bits that uses {bits} of them: its largest value is "
            f"{largest:,} of 65,535, so that it would be read as nearly black (0 to "
            f"{largest >> 8} of 255). Convert the images to 8 bits with one factor for all: if the "
            f"camera gives {max(bits, 10)} bits, python -c \"import cv2; cv2.imwrite('out.png', "
            f"(cv2.imread('{path.name}', -1) >> {max(bits, 10) - 8}).astype('uint8'))\"; if they "
            "are dark on purpose, >> 8.")


def _decode(path: Path, data: bytes, kind: str, flags: int) -> np.ndarray:
    """Decodes with OpenCV.

    Some releases of OpenCV return the first rows of a truncated file without an error, so the end
    of the image is looked for first. Bytes behind it are not decoded.
    """
    end = image_end(data, kind) if kind in STREAMS else len(data)
    if not end:
        raise _unusable(path, data, kind)
    if kind == GIF:
        return _decode_gif(path, data)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8, end), flags)
    except (cv2.error, MemoryError) as error:
        raise _unusable(path, data, kind) from error
    if decoded is None:
        raise _unusable(path, data, kind)
    return decoded


def _decode_gif(path: Path, data: bytes) -> np.ndarray:
    """Decodes the first frame with Pillow, because not every release of OpenCV reads GIF."""
    image = _load_with_pillow(path, data, GIF)
    if image is None:
        raise _unusable(path, data, GIF)
    return cv2.cvtColor(np.array(image.convert("RGB")), cv2.COLOR_RGB2BGR)


# labels


def _check_lossless(path: Path, data: bytes, kind: str) -> None:
    """Refuses label files whose format does not keep the values of pixels."""
    name = kind if kind in LOSSY else ""
    if kind == WEBP and is_lossy_webp(data):
        name = "lossy WebP"
    if kind == TIFF:
        compression = _tiff_tag(data, TIFF_COMPRESSION, 1)
        if compression in TIFF_LOSSY:
            name = f"TIFF with {TIFF_LOSSY[compression]} compression"
    if kind == BMP and data[30:31] == b"\x04":
        name = "BMP with JPEG compression"
    if name:
        raise DatasetError(
            f"{path} is a {name} file, whatever its name says: this format is lossy and changes "
            "class ids and colors, mostly where classes meet. Write the labels again as PNG from "
            "the program that made them: converting this file does not restore the ids, and "
            f"ignoring the stray ones hides the damage {SEE_DATASETS}.")


def _tiff_tag(data: bytes, tag: int, default: int) -> int:
    try:
        with _open(data, TIFF) as image:
            value = image.tag_v2.get(tag, default)
    except Exception:
        return default
    return int(value[0] if isinstance(value, tuple) else value)


def _decode_ids(path: Path, data: bytes, kind: str) -> np.ndarray:
    """Decodes the ids of a label file with Pillow, which returns the indices of a palette."""
    image = _load_with_pillow(path, data, kind)
    if image is None:
        raise _unusable(path, data, kind)
    values = np.array(image)
    if image.mode == "1":
        # also where white is stored as 0: the ids are those that the picture shows
        return values.astype(np.uint8)
    if image.mode == "P":
        return _shown_ids(path, image, values) if kind in (GIF, BMP) else values
    if image.mode not in ("L", "I", "I;16", "I;16B", "I;16L"):
        raise _no_ids(path, f"{len(image.getbands())} channel(s) of Pillow's mode {image.mode}")
    if kind == TIFF:
        bits = _tiff_tag(data, TIFF_BITS, 1)
        if _tiff_tag(data, TIFF_PHOTOMETRIC, 1) == MIN_IS_WHITE:
            raise DatasetError(f"{path} is a TIFF file that stores 0 as white (MinIsWhite), and "
                               "programs disagree about its ids: write the labels again as PNG.")
        if bits < 8:
            # Pillow stretches them to 0..255, too
            values //= 255 // (2 ** bits - 1)
    if kind == PNM:
        values = _unscaled(data, values)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise _no_ids(path, f"values from {values.min():,} to {values.max():,}")
    return values if values.dtype == np.uint8 else values.astype(np.uint16)


def _shown_ids(path: Path, image: Image.Image, indices: np.ndarray) -> np.ndarray:
    """Returns the ids of a BMP or GIF file, which has a palette even if its pixels are gray.

    A palette of evenly spaced grays stands for 0, 1, 2, ...; of other grays, whose order is up to
    the program that wrote the file, the gray values are the ids. Of colors, the indices are, except
    in GIF, which programs write with other indices than they were given.
    """
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colors = np.concatenate([colors, np.zeros((256 - len(colors), 3), np.uint8)])
    used = np.unique(indices)
    if np.ptp(colors[used], axis=1).any():
        if image.format == "GIF":
            raise DatasetError(f"{path} is a GIF file with a palette of colors, which programs "
                               "renumber when they write it: write the labels again as PNG.")
        return indices
    grays = colors[:, 0]
    for bits in (1, 2, 4):
        step = 255 // (2 ** bits - 1)
        if len(image.getpalette("RGB") or ()) <= 3 * 2 ** bits and not (grays[used] % step).any():
            return (grays // step)[indices]
    return grays[indices]


def _unscaled(data: bytes, values: np.ndarray) -> np.ndarray:
    """Undoes Pillow's scaling of a PGM file to 255, or 65,535 if its values need 16 bits."""
    header = re.sub(rb"#[^\n]*", b"", data[:4096]).split()[:4]
    if header[0] not in (b"P2", b"P5"):
        return values
    largest = int(header[3])
    scaled_to = 255 if values.dtype == np.uint8 else 65_535
    if largest == scaled_to:
        return values
    return np.rint(values * (largest / scaled_to)).astype(values.dtype)


def _no_ids(path: Path, content: str) -> DatasetError:
    return DatasetError(
        f"{path} is not a map of class ids: it has {content}, but labels are gray or palette PNG "
        "files of at most 16 bits. Is it a colored picture of the labels? If the colors are the "
        "labels, describe the dataset in a YAML file with label_format: rgb "
        f"{SEE_DATASETS}.")


# Pillow


@contextmanager
def _without_size_limit() -> Iterator[None]:
    """Turns off Pillow's limit of pixels, which is lower than OpenCV's."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _open(data: bytes, kind: str) -> Iterator[Image.Image]:
    with _without_size_limit(), \
            Image.open(io.BytesIO(data), formats=(PILLOW_FORMATS[kind],)) as image:
        yield image


def _load_with_pillow(path: Path, data: bytes, kind: str) -> Image.Image | None:
    """Decodes every pixel; returns None if Pillow has no decoder for the file.

    Raises:
        BadSample: the file is truncated, damaged or too large.
    """
    if kind not in PILLOW_FORMATS:
        return None
    end = image_end(data, kind) if kind in STREAMS else len(data)
    if not end:
        raise _unusable(path, data, kind)
    try:
        with _open(data[:end], kind) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _unusable(path, data, kind)
            image.load()
            return image
    except BadSample:
        raise
    except Image.UnidentifiedImageError:
        # such as a TIFF file of an unusual layout, which OpenCV may know
        return None
    # Pillow raises a SyntaxError for a wrong checksum, and what else a damaged file leads to.
    except Exception as error:
        raise _unusable(path, data, kind) from error


def _unusable(path: Path, data: bytes, kind: str) -> BadSample:
    """Returns the error for a file that cannot be decoded: what it is, and what to do."""
    remedy = remedy_for(kind)
    if remedy:
        return BadSample(f"{path} is {remedy}.")
    height, width = _declared_size(data, kind)
    if height * width > MAX_PIXELS:
        return BadSample(f"{path} says that it has {height}x{width} pixels (height x width), more "
                         f"than the {MAX_PIXELS:,} that are read: it is damaged, or must be cut "
                         "into tiles.")
    size = f" of {height}x{width} pixels" if height else ""
    return BadSample(f"{path} is truncated or damaged: its {len(data):,} bytes do not hold a whole "
                     f"image{size}. Copy or download it again.")


def _declared_size(data: bytes, kind: str) -> tuple[int, int]:
    """Returns (height, width) of a file's header; (0, 0) if it cannot be read."""
    if kind not in PILLOW_FORMATS:
        return 0, 0
    try:
        with _open(data, kind) as image:
            return image.height, image.width
    except Exception:
        return 0, 0
