"""The reader: layouts, file formats, and an answer to every kind of bad input."""

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets.listing import Sample
from datasets.reader import (
    Files,
    SegmentationDataset,
    describe_orientation,
    describe_sizes,
)
from datasets.sampling import SampleDraw
from datasets.spec import DatasetError
from tests.datasets.pairs import write_cityscapes

WriteCamvid = Callable[..., Path]


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




# images with an EXIF orientation


def turned(tmp_path: Path, orientation: int, label: tuple[int, int]) -> Sample:
    """Writes an image of 12x16 with an orientation, and a label of any size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (16, 12)).save(tmp_path / "a.jpg", exif=exif)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros(label, np.uint8))
    return Sample("a", tmp_path / "a.jpg", tmp_path / "a.png", datasets.spec("camvid"))


def test_a_label_of_the_turned_picture_is_told_from_one_of_a_wrong_size(tmp_path: Path) -> None:
    sample = turned(tmp_path, 6, (16, 12))
    with pytest.raises(DatasetError, match=r"a\.jpg is 12x16 .* EXIF orientation 6.*"
                                           r"Do not resize.*exif_transpose"):
        Files([sample]).read(0)
    assert "Resize the wrong one" in describe_sizes(sample, (12, 16), (15, 12))


@pytest.mark.parametrize(("orientation", "size", "is_named"), [
    (1, (12, 16), False),
    # turned by 180 degrees, and mirrored
    (3, (12, 16), True),
    (2, (12, 16), True),
    # turned by 90 degrees: the label has the size of the stored image, so it fits that
    (6, (12, 16), False),
    (6, (12, 12), True),
])
def test_an_orientation_is_named_where_the_size_does_not_tell_what_the_label_fits(
        tmp_path: Path, orientation: int, size: tuple[int, int], is_named: bool) -> None:
    message = describe_orientation(turned(tmp_path, orientation, size).image, size)
    assert bool(message) == is_named
    if is_named:
        assert f"EXIF orientation {orientation}" in message
        assert "exif_transpose" in message and "exiftool -Orientation=" in message
