from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.evaluation.submission import check, official_names, write_zip

IDS = np.array([7, 8, 11], np.uint8)


def write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
    return path


def read_image(path: Path) -> np.ndarray:
    return cv2.imread(str(path))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """Two images, with label ids in the folder `label_ids`."""
    for i in range(2):
        write(tmp_path / f"label_ids/image{i}.png", np.full((8, 16 + i), IDS[i], np.uint8))
    return {f"image{i}": write(tmp_path / f"images/{i}_left.png", np.zeros((8, 16 + i, 3)))
            for i in range(2)}


def test_the_zip_file_holds_the_label_ids_under_the_official_names(
        images: dict[str, Path], tmp_path: Path) -> None:
    assert write_zip(images, tmp_path / "label_ids", tmp_path / "a.zip", IDS, read_image) == 2
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["0_left.png", "1_left.png"]
        data = np.frombuffer(archive.read("1_left.png"), np.uint8)
    assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.full((8, 17), 8))


def test_nothing_is_left_of_an_invalid_zip_file(images: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a valid submission: .*1_left.png: \[8\]"):
        write_zip(images, tmp_path / "label_ids", tmp_path / "a.zip", IDS[:1], read_image)
    assert not list(tmp_path.glob("a.zip*"))
    (tmp_path / "label_ids/image1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 2 images \(image1\)"):
        write_zip(images, tmp_path / "label_ids", tmp_path / "a.zip", IDS, read_image)


def test_wrong_counts_and_names_are_found(images: dict[str, Path], tmp_path: Path) -> None:
    write_zip(images, tmp_path / "label_ids", tmp_path / "a.zip", IDS, read_image)
    expected = {"0_left.png": (8, 16), "2_left.png": (8, 16), "3_left.png": (8, 16)}
    assert check(tmp_path / "a.zip", expected, IDS) == [
        "it contains 2 files, not 3",
        "files are missing (2_left.png, 3_left.png)",
        "files belong to no image (1_left.png)"]


def test_labels_in_colors_are_checked_as_colors(tmp_path: Path) -> None:
    colors = np.array([[128, 64, 128], [0, 0, 142]], np.uint8)
    # OpenCV writes BGR
    write(tmp_path / "right.png", np.broadcast_to(colors[1][::-1], (4, 4, 3)).copy())
    write(tmp_path / "wrong.png", np.broadcast_to(colors[1], (4, 4, 3)).copy())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("right.png", "wrong.png"):
            archive.write(tmp_path / name, name)
    problems = check(tmp_path / "a.zip", {"right.png": (4, 4), "wrong.png": (4, 4)}, colors)
    assert problems == [f"files contain ids of no class (wrong.png: [{142 << 16}])"]


def test_images_of_one_name_in_two_folders_keep_the_longer_name() -> None:
    images = {"a_0001": Path("a/0001.jpg"), "b_0001": Path("b/0001.jpg"),
              "b_0002": Path("b/0002.jpg")}
    assert official_names(images) == {"a_0001": "a_0001.png", "b_0001": "b_0001.png",
                                      "b_0002": "0002.png"}
