"""Decoding image and label files: every format, and an answer to every kind of bad file."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.file_kinds import PNG_SIGNATURE
from datasets.image_files import exif_orientation, image_size, read_image, read_label
from datasets.spec import BadSample, DatasetError

IDS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 12


def write_png(
    path: Path, rows: np.ndarray, depth: int, color_type: int, palette: bytes = b""
) -> None:
    """Writes rows of bytes as a PNG of any depth and color type, also those that OpenCV lacks."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    width = rows.shape[1] * 8 // depth
    header = struct.pack(">IIBBBBB", width, rows.shape[0], depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", pixels), (b"IEND", b"")]
    path.write_bytes(
        PNG_SIGNATURE
        + b"".join(chunk(*entry) for entry in chunks if entry[1] or entry[0] == b"IEND")
    )


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_become_rgb_whatever_they_are_stored_as(
    tmp_path: Path, suffix: str, channels: int
) -> None:
    if suffix == ".jpg" and channels == 4:
        channels = 3  # JPEG has no alpha
    path = tmp_path / f"image{suffix}"
    image = np.full((16, 16, channels), 90, np.uint8)
    if channels > 1:
        image[..., 2] = 160  # red
    assert cv2.imwrite(str(path), image)
    read = read_image(path)
    assert np.array_equal(read_image(str(path)), read)
    assert (read.shape, read.dtype) == ((16, 16, 3), np.uint8)
    assert np.abs(read[8, 8].astype(int) - [160 if channels > 1 else 90, 90, 90]).max() <= 4


def test_palette_labels_are_read_as_indices(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    write_png(path, IDS, depth=8, color_type=3, palette=bytes(range(255, -1, -1)) * 3)
    assert (read_label(path) == IDS).all()


@pytest.mark.parametrize(("color_type", "palette"), [(3, bytes(range(48))), (0, b"")])
def test_labels_of_four_bits_are_read_unchanged(
    tmp_path: Path, color_type: int, palette: bytes
) -> None:
    path = tmp_path / "nibbles.png"
    write_png(
        path, IDS[:, ::2] << 4 | IDS[:, 1::2], depth=4, color_type=color_type, palette=palette
    )
    assert (read_label(path) == IDS).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("lost", [1, 100])
def test_a_truncated_photograph_is_named(tmp_path: Path, suffix: str, lost: int) -> None:
    path = tmp_path / f"photograph{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DatasetError, match=rf"photograph\{suffix} is truncated or damaged"):
        read_image(path)


def test_a_truncated_palette_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    write_png(path, IDS, depth=8, color_type=3, palette=bytes(768))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"palette\.png is truncated or damaged"):
        read_label(path)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("color_type", [0, 3])
def test_ids_of_few_bits_are_read_unchanged(tmp_path: Path, depth: int, color_type: int) -> None:
    per_byte = 8 // depth
    values = np.arange(6 * per_byte, dtype=np.uint8).reshape(2, -1) % 2**depth
    # the first pixel is in the highest bits
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * depth
    groups = values.reshape(2, -1, per_byte) << shifts
    rows = np.bitwise_or.reduce(groups, axis=2).astype(np.uint8)
    path = tmp_path / "few.png"
    write_png(path, rows, depth, color_type, palette=bytes(3 * 2**depth) if color_type else b"")
    label = read_label(path)
    assert label.dtype == np.uint8
    assert label.tolist() == values.tolist()
    label[0, 0] = 1


def test_a_palette_label_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    write_png(path, IDS, depth=8, color_type=3, palette=bytes(768))
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 8
    data[start] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"palette\.png is truncated or damaged"):
        read_label(path)


def test_an_image_is_rotated_only_where_its_orientation_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "photograph.jpg"
    exif = Image.Exif()
    # 6: the camera was turned, so that the right side of the file is the top of the scene
    exif[0x0112] = 6
    Image.new("RGB", (20, 30)).save(path, exif=exif)
    assert read_image(path).shape == (30, 20, 3)
    assert read_image(path, upright=True).shape == (20, 30, 3)


# label files of few bits and of other formats than PNG

MASK = np.arange(7 * 11).reshape(7, 11) % 3 % 2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.pbm"])
def test_a_mask_of_one_bit_is_read_as_0_and_1(tmp_path: Path, name: str) -> None:
    Image.fromarray(MASK.astype(bool)).save(tmp_path / name)
    assert read_label(tmp_path / name).tolist() == MASK.tolist()


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "packbits"])
def test_a_compressed_tiff_mask_of_one_bit_is_read_as_0_and_1(tmp_path: Path,
                                                              compression: str) -> None:
    # the fax compressions of Pillow store white as 0
    Image.fromarray(MASK.astype(bool)).save(tmp_path / "a.tif", compression=compression)
    assert read_label(tmp_path / "a.tif").tolist() == MASK.tolist()


def write_tiff(path: Path, ids: np.ndarray, bits: int, photometric: int = 1) -> None:
    """Writes ids of 1, 2 or 4 bits, whose width fills whole bytes, as an uncompressed TIFF."""
    groups = ids.reshape(len(ids), -1, 8 // bits)
    shifts = np.arange(8 // bits - 1, -1, -1) * bits
    pixels = (groups << shifts).sum(axis=2).astype(np.uint8).tobytes()
    height, width = ids.shape
    # width, height, bits, no compression, photometric, offset, samples, rows, bytes
    tags = ((256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8),
            (277, 1), (278, height), (279, len(pixels)))
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
                     + struct.pack("<H", len(tags)) + directory + bytes(4))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiff_ids_of_few_bits_are_read_unchanged(tmp_path: Path, bits: int) -> None:
    ids = np.arange(5 * 16).reshape(5, 16) % 2 ** bits
    write_tiff(tmp_path / "a.tif", ids, bits)
    assert read_label(tmp_path / "a.tif").tolist() == ids.tolist()


def test_tiff_ids_that_are_stored_inverted_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.arange(32).reshape(2, 16) % 16, 4, photometric=0)
    with pytest.raises(DatasetError, match=r"a\.tif .*MinIsWhite.*as PNG"):
        read_label(tmp_path / "a.tif")


@pytest.mark.parametrize("largest", [1, 15, 31, 255, 1000, 65_535])
@pytest.mark.parametrize("plain", [True, False])
def test_pgm_ids_are_read_unchanged_whatever_the_largest_value_is(tmp_path: Path, largest: int,
                                                                  plain: bool) -> None:
    ids = np.arange(6 * 9).reshape(6, 9) * 7919 % (largest + 1)
    if plain:
        pixels = " ".join(map(str, ids.ravel().tolist())).encode()
    else:
        pixels = ids.astype(">u2" if largest > 255 else np.uint8).tobytes()
    header = f"P{2 if plain else 5}\n# made by hand\n9 6\n{largest}\n".encode()
    (tmp_path / "a.pgm").write_bytes(header + pixels)
    assert read_label(tmp_path / "a.pgm").tolist() == ids.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif", "a.pgm"])
def test_gray_ids_of_eight_bits_are_read_unchanged(tmp_path: Path, name: str) -> None:
    Image.fromarray(IDS).save(tmp_path / name)
    assert read_label(tmp_path / name).tolist() == IDS.tolist()


def test_gray_ids_are_read_from_a_gif_whose_palette_was_shortened(tmp_path: Path) -> None:
    ids = np.array([[3, 9, 200, 3]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "a.gif", optimize=True)
    assert read_label(tmp_path / "a.gif").tolist() == ids.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_palette_indices_are_the_ids_in_other_formats_too(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(IDS)
    picture.putpalette(bytes(range(255, -1, -1)) + bytes(512))
    picture.save(tmp_path / name)
    assert read_label(tmp_path / name).tolist() == IDS.tolist()


def test_a_gif_with_a_palette_of_colors_is_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(IDS)
    picture.putpalette(bytes(range(200)) + bytes(568))
    picture.save(tmp_path / "a.gif")
    with pytest.raises(DatasetError, match=r"a\.gif is a GIF file with a palette of colors"):
        read_label(tmp_path / "a.gif")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_ids_of_sixteen_bits_are_read_unchanged(tmp_path: Path, name: str) -> None:
    ids = IDS.astype(np.uint16) * 400
    assert cv2.imwrite(str(tmp_path / name), ids)
    label = read_label(tmp_path / name)
    assert label.dtype == np.uint16
    assert label.tolist() == ids.tolist()


# labels in lossy formats


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize(("encoder", "quality", "title"), [
    ("JPEG", {"quality": 75}, "JPEG"),
    ("JPEG", {"quality": 100, "subsampling": 0}, "JPEG"),
    ("JPEG2000", {}, "JPEG 2000"),
    ("WEBP", {"quality": 90}, "lossy WebP"),
    ("TIFF", {"compression": "jpeg"}, "TIFF with JPEG compression"),
])
def test_a_lossy_label_is_refused_whatever_its_name_says(
        tmp_path: Path, encoder: str, quality: dict[str, int], title: str, colors: bool) -> None:
    mode = "RGB" if encoder == "WEBP" else "L"
    Image.fromarray(MASK.astype(np.uint8)).convert(mode).save(tmp_path / "a.png", encoder,
                                                              **quality)
    message = rf"a\.png is a {title} file, .* lossy .* as PNG"
    with pytest.raises(DatasetError, match=message) as info:
        read_label(tmp_path / "a.png", colors)
    # --on_bad_sample skip would skip every label
    assert not isinstance(info.value, BadSample)


def test_a_lossy_webp_is_recognized_behind_its_alpha(tmp_path: Path) -> None:
    picture = np.full((16, 16, 4), 90, np.uint8)
    picture[::2, ::3, 3] = 7
    Image.fromarray(picture).save(tmp_path / "a.png", "WEBP", quality=50)
    with pytest.raises(DatasetError, match="lossy WebP"):
        read_label(tmp_path / "a.png", colors=True)


def test_lossless_webp_labels_in_colors_are_read(tmp_path: Path) -> None:
    picture = np.full((16, 16, 3), (1, 2, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.webp", lossless=True)
    assert np.unique(read_label(tmp_path / "a.webp", colors=True)).tolist() == [0x010203]


# images of 16 bits


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_an_image_that_uses_few_of_16_bits_is_named_with_the_way_to_convert(
        tmp_path: Path, suffix: str, bits: int) -> None:
    values = np.full((4, 6, 3), 9, np.uint16)
    values[1, 1] = 2 ** bits - 1
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), values)
    with pytest.raises(DatasetError, match=rf"16 bits that uses {bits} of them.*>> {bits - 8}\)"):
        read_image(path)


def test_the_upper_bits_are_read_of_an_image_that_uses_its_16(tmp_path: Path) -> None:
    values = np.arange(0, 65_536, 1024, dtype=np.uint16).reshape(8, 8)
    assert cv2.imwrite(str(tmp_path / "a.png"), values)
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == (values >> 8).tolist()
    assert cv2.imwrite(str(tmp_path / "black.png"), values * 0)
    assert not read_image(tmp_path / "black.png").any()


def test_an_image_of_floating_point_numbers_is_refused(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.tif"), np.ones((4, 6, 3), np.float32))
    with pytest.raises(DatasetError, match=r"a\.tif holds float32 numbers.*8 bits"):
        read_image(tmp_path / "a.tif")


# bytes behind the end of an image

NOISE = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
TAILS = {"padding": bytes(5000), "motion": b"MotionPhoto_Data" + NOISE, "newline": b"\n"}
SUFFIXES = [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".ppm"]


def encoded(suffix: str) -> bytes:
    """Returns a picture of noise, 32x48, as a file."""
    picture = np.frombuffer(NOISE[:32 * 48 * 3], np.uint8).reshape(32, 48, 3)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, Image.registered_extensions()[suffix])
    return file.getvalue()


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_behind_the_end_of_an_image_are_ignored(tmp_path: Path, suffix: str,
                                                      tail: str) -> None:
    path, longer = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    path.write_bytes(encoded(suffix))
    longer.write_bytes(encoded(suffix) + TAILS[tail])
    assert np.array_equal(read_image(longer), read_image(path))


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif", "a.pgm"])
def test_bytes_behind_the_end_of_a_label_are_ignored(tmp_path: Path, name: str, tail: str) -> None:
    path = tmp_path / name
    Image.fromarray(IDS).save(path)
    path.write_bytes(path.read_bytes() + TAILS[tail])
    assert read_label(path).tolist() == IDS.tolist()


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_image_is_named_in_every_format(tmp_path: Path, suffix: str,
                                                    kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    data = encoded(suffix)
    path.write_bytes(data[:int(kept * len(data))])
    with pytest.raises(BadSample, match=rf"a\{suffix} is truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named_whatever_follows_it(tmp_path: Path, suffix: str, kept: float,
                                                        tail: str) -> None:
    path = tmp_path / f"a{suffix}"
    data = encoded(suffix)
    path.write_bytes(data[:int(kept * len(data))] + TAILS[tail])
    with pytest.raises(BadSample, match=rf"a\{suffix} is truncated or damaged"):
        read_image(path)


def test_a_jpeg_that_ends_within_the_thumbnail_of_its_header_is_named(tmp_path: Path) -> None:
    thumbnail = encoded(".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + segment + bytes(100))
    with pytest.raises(BadSample, match="truncated or damaged"):
        read_image(tmp_path / "a.jpg")


# images that are too large, and files that are no images


@pytest.mark.parametrize("color_type", [0, 2, 3])
def test_a_header_that_declares_a_huge_image_is_named(tmp_path: Path, color_type: int) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.zeros((1, 8), np.uint8), depth=8, color_type=color_type,
              palette=bytes(12) if color_type == 3 else b"")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(bytes(data))
    for read in (read_image, read_label):
        with pytest.raises(BadSample, match=r"a\.png says that it has 40000x40000 pixels"):
            read(path)


def test_a_palette_label_beyond_pillows_limit_is_read(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow refuses images of twice its limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "a.png"
    write_png(path, IDS, depth=8, color_type=3, palette=bytes(768))
    assert read_label(path).tolist() == IDS.tolist()
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(("content", "message"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90), "a HEIC "),
    (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "AppleDouble"),
    (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(90), "a video"),
    (b"<!DOCTYPE html><html>", "a web page"),
    (bytes(500), "nothing but zeros"),
    (b"", "its 0 bytes"),
])
@pytest.mark.parametrize("read", [read_image, read_label])
def test_a_file_that_is_no_image_is_called_what_it_is(tmp_path: Path, content: bytes, message: str,
                                                      read: object) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.jpg is .*{message}"):
        read(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_exif_orientation_is_read_in_every_format(tmp_path: Path, suffix: str,
                                                      orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 30)).save(path, exif=exif)
    assert exif_orientation(path) == orientation


def test_a_file_without_an_orientation_has_1(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert exif_orientation(tmp_path / "a.jpg") == 1


# sizes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_the_size_is_read_without_the_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    assert image_size(path) == (20, 30)
    if suffix != ".bmp":
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(BadSample, match="truncated or damaged"):
            image_size(path)
