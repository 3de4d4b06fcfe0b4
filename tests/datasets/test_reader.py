"""The reader: layouts, file formats, and an answer to every kind of bad input."""

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets.reader import PNG_SIGNATURE, SegmentationDataset, read_image, read_label
from datasets.sampling import SampleDraw
from datasets.spec import DatasetError

WriteCamvid = Callable[..., Path]
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


def write_pair(root: Path, image: str, label: str | None, raw_id: int = 7) -> None:
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / image), np.full((4, 6, 3), 50, np.uint8))
    if label is not None:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / label), np.full((4, 6), raw_id, np.uint8))


def write_cityscapes(
    root: Path, images: str = "leftImg8bit", labels: str = "gtFine", suffix: str = ".png"
) -> None:
    for split in ("train", "val", "test"):
        for number, city in enumerate(("zurich", "aachen")):
            stem = f"{city}_{number:06}_000019"
            write_pair(
                root,
                f"{images}/{split}/{city}/{stem}_leftImg8bit{suffix}",
                f"{labels}/{split}/{city}/{stem}_gtFine_labelIds.png",
            )


# what is read


def test_a_sample_is_uint8_rgb_with_train_ids(write_camvid: WriteCamvid) -> None:
    root = write_camvid(size=(5, 7))
    red = np.zeros((5, 7, 3), np.uint8)
    red[..., 2] = 200  # OpenCV writes blue, green, red
    cv2.imwrite(str(root / "train/train_0.png"), red)
    cv2.imwrite(str(root / "trainannot/train_0.png"), np.full((5, 7), 11, np.uint8))
    sample = datasets.build("camvid", root, "train")[0]
    assert sample["image"].dtype == sample["label"].dtype == torch.uint8
    assert tuple(sample["image"].shape) == (3, 5, 7)
    assert sample["image"][:, 0, 0].tolist() == [200, 0, 0]
    assert sample["label"].unique().tolist() == [255]
    assert sample["name"] == "train_0"


def test_a_split_without_public_labels_has_images_alone(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    data = datasets.build("cityscapes", tmp_path, "test")
    assert not data.labeled
    assert set(data[0]) == {"image", "name"}


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


def test_a_transform_gets_the_draws_focus_and_generator(write_camvid: WriteCamvid) -> None:
    seen = []

    def transform(
        image: np.ndarray, label: np.ndarray, focus: object, rng: np.random.Generator
    ) -> tuple:
        seen.append((image.shape, label.shape, focus, rng.random()))
        return image[:2, :3].copy(), label[:2, :3].copy()

    data = datasets.build("camvid", write_camvid(), "train", transform)
    draw = SampleDraw(index=1, seed=1, epoch=2, position=3, focus=(4, 5))
    assert tuple(data[draw]["image"].shape) == (3, 2, 3)
    assert seen == [((12, 16, 3), (12, 16), (4, 5), np.random.default_rng((1, 2, 3)).random())]


def test_a_dataset_survives_pickling(write_camvid: WriteCamvid) -> None:
    data = datasets.build("camvid", write_camvid(), "train")
    again = pickle.loads(pickle.dumps(data))
    assert again.samples == data.samples
    assert torch.equal(again[2]["image"], data[2]["image"])


# what is refused


def test_training_on_a_split_without_labels_is_refused(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    with pytest.raises(DatasetError, match=r"Cityscapes test has no public labels.*--train_split"):
        datasets.build(
            "cityscapes", tmp_path, "test", lambda image, label, focus, rng: (image, label)
        )


def read_damaged(root: Path) -> None:
    SegmentationDataset(datasets.spec("camvid"), root, "train")[0]


def test_a_label_of_another_size_is_named(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    cv2.imwrite(str(root / "trainannot/train_0.png"), np.zeros((6, 8), np.uint8))
    with pytest.raises(
        DatasetError, match=r"train_0\.png is 12x16 .* its label .*train_0\.png is 6x8: .*same size"
    ):
        read_damaged(root)


@pytest.mark.parametrize("folder", ["train", "trainannot"])
@pytest.mark.parametrize("kept", [0, 0.2, 0.9])
def test_a_truncated_png_is_named(write_camvid: WriteCamvid, folder: str, kept: float) -> None:
    root = write_camvid()
    path = root / folder / "train_0.png"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(
        DatasetError, match=rf"{folder}/train_0\.png is truncated or damaged.*download it again"
    ):
        read_damaged(root)


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


def test_an_id_outside_the_table_is_named_with_count_and_file(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    label = np.zeros((12, 16), np.uint8)
    label[0, :5], label[1, :2] = 77, 30
    cv2.imwrite(str(root / "trainannot/train_0.png"), label)
    with pytest.raises(
        DatasetError,
        match=r"trainannot/train_0\.png holds ids that CamVid .* does not name: "
        r"77 \(5 pixels\), 30 \(2 pixels\)\. Check that --dataset camvid .*"
        r"YAML.*: ignored_ids: \[11, 255, 30, 77\]$",
    ):
        read_damaged(root)


@pytest.mark.parametrize(
    ("label", "content"),
    [
        (np.zeros((12, 16, 3), np.uint8), r"3 channel\(s\) of 8 bits"),
        (np.zeros((12, 16, 4), np.uint16), r"4 channel\(s\) of 16 bits"),
    ],
)
def test_labels_that_are_no_id_maps_are_refused(
    write_camvid: WriteCamvid, label: np.ndarray, content: str
) -> None:
    root = write_camvid()
    cv2.imwrite(str(root / "trainannot/train_0.png"), label)
    with pytest.raises(
        DatasetError, match=rf"train_0\.png is not a map of class ids: it has {content}"
    ):
        read_damaged(root)


def test_a_file_that_went_away_is_named(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    data = datasets.build("camvid", root, "train")
    (root / "train/train_1.png").unlink()
    with pytest.raises(
        DatasetError, match=r"train_1\.png cannot be read \(No such file or directory\)"
    ):
        data[1]


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
