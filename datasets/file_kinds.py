"""Recognizes the format of a file by its first bytes, and finds the end of an image in it."""
from __future__ import annotations

import re

PNG, JPEG, WEBP, TIFF, BMP, GIF, PNM = "PNG", "JPEG", "WebP", "TIFF", "BMP", "GIF", "PNM"
JPEG_2000, JPEG_XL, AVIF, HEIC = "JPEG 2000", "JPEG XL", "AVIF", "HEIC"
# Formats that change pixel values, or whose lossless files cannot be told from the others.
LOSSY = (JPEG, JPEG_2000, JPEG_XL, AVIF, HEIC)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
JPEG_START_OF_SCAN, JPEG_END = 0xDA, 0xD9
# Within the coded data of a JPEG file, ff 00 is a byte of data, and ff d0 to ff d7 are restarts.
JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

SIGNATURES = (
    (PNG_SIGNATURE, PNG),
    (JPEG_SIGNATURE, JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\0\0\0\x0cjP  ", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\0\0\0\x0cJXL ", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"version https://git-lfs", "Git LFS pointer"),
    (b"/annex/objects/", "git-annex pointer"),
    (b"../.git/annex/", "git-annex pointer"),
    (b"\0\x05\x16\x07", "AppleDouble"),
    (b"\0\x05\x16\0", "AppleDouble"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"8BPS", "Photoshop"),
    (b"\x93NUMPY", "NumPy"),
    (b"BM", BMP),
)
# brands of files in the ISO base media format, ISO/IEC 14496-12
BRANDS = ((b"avif", AVIF), (b"avis", AVIF), (b"heic", HEIC), (b"heix", HEIC), (b"heim", HEIC),
          (b"heis", HEIC), (b"hevc", HEIC), (b"hevx", HEIC), (b"mif1", HEIC), (b"msf1", HEIC))
CONVERT = "which is not read: convert it to PNG or JPEG"
# Format of a file that is not a readable image -> what it is, and the remedy, for errors.
REMEDIES = {
    "zeros": "truncated or damaged: it holds nothing but zeros, as an interrupted download leaves. "
             "Copy or download it again",
    "Git LFS pointer": "a Git LFS pointer, not the file itself: run git lfs pull in its repository",
    "git-annex pointer": "a git-annex pointer, not the file itself: run git annex get in its "
                         "repository",
    "AppleDouble": "an AppleDouble file, in which macOS keeps the attributes of another file, not "
                   "an image: delete it (dot_clean FOLDER deletes all)",
    "HTML": "a web page, not an image, as a failed download leaves: download it again",
    "SVG or XML": f"an SVG or XML file, {CONVERT}",
    HEIC: f"a HEIC image, {CONVERT} (for example heif-convert IN OUT.png)",
    AVIF: f"an AVIF image, {CONVERT}",
    JPEG_XL: f"a JPEG XL image, {CONVERT}",
    JPEG_2000: "a JPEG 2000 image that is damaged, or that this OpenCV does not read: convert it "
               "to PNG",
    "video": "a video (MP4 or QuickTime), not an image",
    "RIFF": "an AVI or WAV file, not an image",
    "PDF": f"a PDF file, {CONVERT}",
    "ZIP": "a ZIP archive, not an image: unpack it",
    "gzip": "a gzip archive, not an image: unpack it",
    "Photoshop": f"a Photoshop file, {CONVERT}",
    "NumPy": "a NumPy array, not an image: save it as PNG",
}


def kind_of(data: bytes) -> str:
    """Returns the format of a file, such as "PNG" or "HEIC"; "" if it is unknown."""
    for signature, kind in SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF":
        return WEBP if data[8:12] == b"WEBP" else "RIFF"
    if data[4:8] == b"ftyp":
        # the major brand, its version, and the compatible brands
        brands = data[8:8 + min(64, int.from_bytes(data[:4], "big"))]
        return next((kind for brand, kind in BRANDS if brand in brands), "video")
    if re.match(rb"P[1-6][\s#]", data):
        return PNM
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    if start.startswith((b"<?xml", b"<svg")):
        return "SVG or XML"
    return "zeros" if data and not any(data) else ""


def remedy_for(kind: str) -> str:
    """Returns what a file is that is not a readable image, and the remedy; "" for an image."""
    return REMEDIES.get(kind, "")


def image_end(data: bytes, kind: str) -> int:
    """Returns the number of bytes up to the end of a PNG, JPEG or WebP image; 0 if it is cut off.

    Phones append videos to their images, and downloads may be padded.
    """
    if kind == PNG:
        return _png_end(data)
    if kind == JPEG:
        return _jpeg_end(data)
    end = 8 + int.from_bytes(data[4:8], "little")
    return end if 8 < end <= len(data) else 0


def _png_end(data: bytes) -> int:
    """As `image_end`. A chunk is its length, kind, data and checksum (W3C PNG, section 5)."""
    if data[-12:-4] == b"\0\0\0\0IEND":
        return len(data)
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position:position + 4], "big")
        if data[position + 4:position + 8] == b"IEND":
            return end if end <= len(data) else 0
        position = end
    return 0


def _jpeg_end(data: bytes) -> int:
    """As `image_end`. A segment is a marker, its length and its data (ITU-T T.81, B.1).

    The coded data of a scan follows its segment.
    """
    ends = data.endswith(b"\xff\xd9") and b"\xff\xda" in data
    if ends and data.rfind(b"\xff\xda") < len(data) - 2:
        return len(data)
    position, has_scan = 2, False
    while position + 2 <= len(data):
        prefix, marker = data[position:position + 2]
        if prefix != 0xFF or marker < 0xC0:
            return 0
        if marker == 0xFF:
            # a fill byte
            position += 1
            continue
        if marker == JPEG_END:
            return position + 2 if has_scan else 0
        position += 2 + int.from_bytes(data[position + 2:position + 4], "big")
        if marker == JPEG_START_OF_SCAN:
            has_scan = True
            match = JPEG_NEXT_MARKER.search(data, position)
            if match is None:
                return 0
            position = match.start()
    return 0


def is_lossy_webp(data: bytes) -> bool:
    """Whether a WebP file holds a lossy (VP8) image; lossless ones are VP8L."""
    position, end = 12, image_end(data, WEBP) or len(data)
    while position + 8 <= end:
        name = data[position:position + 4]
        size = int.from_bytes(data[position + 4:position + 8], "little")
        # ALPH and EXIF chunks may precede the image; a frame of an animation holds chunks itself.
        if name == b"VP8 ":
            return True
        if name == b"VP8L":
            return False
        if name == b"ANMF":
            position += 24
            continue
        position += 8 + size + size % 2
    return False
