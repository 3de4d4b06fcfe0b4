from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import datasets
from datasets.spec import ClassInfo, DatasetError
from tests.tools.import_labels.conftest import write_picture
from tools.import_labels.writing import Folder, crop_size_for, with_colors

CLASSES = [ClassInfo('a "b"', (1, 2, 3)), ClassInfo("straße", (4, 5, 6))]


def fill(out: Path, picture: Path, split: str, name: str = "x/0") -> Path:
    folder = Folder(out)
    with folder.fill():
        folder.add(split, PurePosixPath(name), picture, np.eye(8, dtype=np.uint8))
        return folder.finish(CLASSES, (8, 8), "a test")


def test_the_folder_is_a_dataset_and_a_second_import_adds_or_replaces_a_split(
        tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "p.png")
    path = fill(tmp_path / "out", picture, "train")
    data = datasets.build(str(path), None, "train")
    assert data.spec.names == ('a "b"', "straße") and data.spec.classes[0].rgb == (1, 2, 3)
    assert (data[0]["label"].numpy() == np.eye(8)).all() and data[0]["name"] == "0"
    assert data.samples[0].image.samefile(picture)
    fill(tmp_path / "out", picture, "val")
    fill(tmp_path / "out", picture, "train", "1")
    spec = datasets.spec(str(path))
    assert [*spec.splits] == ["train", "val", "trainval"]
    names = [sample.name for sample in datasets.build(spec, None, "trainval").samples]
    assert names == ["1", "0"]
    assert picture.read_bytes()


def test_an_interrupted_import_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "p.png")
    folder = Folder(tmp_path / "out")

    def interrupted() -> None:
        with folder.fill():
            folder.add("train", PurePosixPath("0"), picture, np.eye(8, dtype=np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [*(tmp_path / "out").iterdir()] == []
    # a killed one leaves the unfinished folder, which the next one replaces
    (tmp_path / "out/.unfinished/labels/old").mkdir(parents=True)
    assert "old" not in datasets.spec(str(fill(tmp_path / "out", picture, "train"))).splits


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match="exists and is no imported dataset"):
        Folder(tmp_path)


def test_crops_are_no_larger_than_most_images() -> None:
    assert crop_size_for([(100, 2000), (300, 900), (200, 700)]) == (200, 512)


def test_classes_without_a_color_get_distinct_ones() -> None:
    classes = with_colors(["a", "b", "c"], {"b": (128, 0, 0), "c": None})
    # the first color of VOC's palette is b's
    assert [info.rgb for info in classes] == [(0, 128, 0), (128, 0, 0), (128, 128, 0)]
    many = with_colors([str(i) for i in range(254)], {})
    assert len({info.rgb for info in many}) == 254
