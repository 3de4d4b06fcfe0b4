"""Crops by their geometry, and samples that depend on (seed, epoch, position) alone."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from datasets import DatasetError, SampleDraw
from tools.pretrain.class_folders import ImageFile
from tools.pretrain.images import CenterCrop, ClassImages, ImageOptions, RandomResizedCrop

LABEL = np.full((1, 1), 7, np.int64)


def positions(height: int, width: int) -> np.ndarray:
    """An image whose red and green are the row and the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)


def test_a_random_crop_has_an_area_and_a_ratio_in_range() -> None:
    crop = RandomResizedCrop((16, 16), min_area=0.25)
    shares, ratios = [], []
    for seed in range(200):
        image, label = crop(positions(100, 200), LABEL, None, np.random.default_rng(seed))
        assert image.shape == (16, 16, 3) and label is LABEL
        # resizing samples at pixel centers, so the range of positions is 15/16 of the crop's
        height, width = (np.ptp(image[..., channel].astype(int)) * 16 / 15 for channel in (0, 1))
        shares.append(height * width / (100 * 200))
        ratios.append(width / height)
    assert min(shares) > 0.2 and max(shares) < 0.72     # the largest 4:3 rectangle has 0.67
    assert 0.7 < min(ratios) < 0.85 and 1.2 < max(ratios) < 1.45


def test_an_image_without_a_fitting_crop_gives_the_square_in_its_center() -> None:
    crop = RandomResizedCrop((8, 8), min_area=1.0)
    image, _ = crop(positions(8, 40), LABEL, None, np.random.default_rng(0))
    assert np.array_equal(image, positions(8, 40)[:, 16:24])


def test_validation_crops_seven_eighths_of_the_shorter_side_in_the_center() -> None:
    image, label = CenterCrop((28, 28))(positions(32, 64), LABEL, None, np.random.default_rng(0))
    assert np.array_equal(image, positions(32, 64)[2:30, 18:46]) and label is LABEL
    # an image of one pixel is enlarged
    assert CenterCrop((28, 28))(positions(1, 1), LABEL, None, np.random.default_rng(0)
                                )[0].shape == (28, 28, 3)


def test_a_sample_is_a_function_of_its_draw(shapes: Path) -> None:
    options = ImageOptions(str(shapes), crop_size=(32, 32))
    data = options.build(options.find_classes(0), seed=0, batch_size=4, rank=0, world_size=1)
    draw = SampleDraw(index=9, seed=0, epoch=2, position=5)
    sample, again = data.train_set[draw], data.train_set[draw]
    other = data.train_set[SampleDraw(index=9, seed=0, epoch=3, position=5)]
    assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.uint8
    assert sample["label"].tolist() == [[1]] and sample["name"] == "green_square/1.png"
    assert torch.equal(sample["image"], again["image"])
    assert not torch.equal(sample["image"], other["image"])
    assert len(data.files()) == 24
    batch = next(iter(data.loader))
    assert batch["image"].shape == (4, 3, 32, 32) and batch["label"].shape == (4, 1, 1)
    assert [batch["name"] for batch in data.load_validation([11, 0])] == [
        ["red_triangle/3.png"], ["blue_disc/0.png"]]


def test_a_photograph_is_turned_as_its_orientation_says(tmp_path: Path) -> None:
    from PIL import Image
    exif = Image.Exif()
    exif[0x0112] = 6            # turn by 90 degrees clockwise
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)

    def size(image: np.ndarray, label: np.ndarray, *rest: object) -> tuple[np.ndarray, np.ndarray]:
        return np.array(image.shape)[None, None], label

    sample = ClassImages([ImageFile(str(tmp_path), "a.jpg", 0)], size)[0]
    assert sample["image"].flatten().tolist() == [40, 20, 3]


@pytest.mark.parametrize(("field", "value"), [
    ("min_area", 0.0), ("min_area", 1.5), ("val_fraction", 1.0), ("data_root", ""),
])
def test_a_value_out_of_range_is_refused_by_its_flag(field: str, value: object) -> None:
    with pytest.raises(DatasetError, match=f"--{field}"):
        ImageOptions(**{"data_root": "images", field: value})


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), positions(40, 40))
    path.write_bytes(path.read_bytes()[:200])
    options = ImageOptions(str(tmp_path), crop_size=(8, 8))
    with pytest.raises(DatasetError, match=r"a\.png"):
        ClassImages([ImageFile(str(tmp_path), "a.png", 0)], CenterCrop(options.crop_size))[0]
