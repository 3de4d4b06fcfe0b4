from __future__ import annotations

import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from tools import submission as program
from utils.evaluation.submission import check, official_names

IDS = datasets.spec("cityscapes").to_raw_ids[:19]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two test images of Cityscapes with label ids that eval.py could have written."""
    for i in range(2):
        image = tmp_path / "leftImg8bit/test/berlin" / f"berlin_00000{i}_000019_leftImg8bit.png"
        write(image, np.zeros((8, 16 + i, 3), np.uint8))
        write(tmp_path / "out/label_ids" / f"berlin_00000{i}_000019.png", np.full((8, 16 + i), 7 + 4 * i, np.uint8))
    return tmp_path


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def run(root: Path, *flags: str) -> int:
    return program.main(["--dataset", "cityscapes", "--data_root", str(root), "--ids", str(root / "out/label_ids"),
                         *flags])


def test_label_ids_are_packed_under_the_official_names(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root) == 0
    assert "2 files of label ids, their names, sizes and ids checked against Cityscapes test" in capsys.readouterr().out
    with zipfile.ZipFile(root / "out/submission.zip") as archive:
        assert archive.namelist() == [f"berlin_00000{i}_000019_leftImg8bit.png" for i in range(2)]
        ids = cv2.imdecode(np.frombuffer(archive.read(archive.namelist()[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(ids, np.full((8, 17), 11))


@pytest.mark.parametrize(("content", "message"), [
    (None, r"lacks 1 of 2 images \(berlin_000001_000019\): run eval.py --dump_images"),
    (np.full((8, 16), 7, np.uint8), "files have another size than their image .berlin_000001_000019_leftImg8bit.png."),
    (np.full((8, 17), 18, np.uint8), r"files contain ids of no class \(berlin_000001_000019_leftImg8bit.png: \[18\]\)"),
    (np.zeros((8, 17, 3), np.uint8), "files are not maps of label ids"),
    (np.full((8, 17), 7, np.uint16), "files are not maps of label ids"),
])
def test_what_a_server_would_refuse_is_not_packed(root: Path, content: np.ndarray | None, message: str,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "out/label_ids/berlin_000001_000019.png"
    path.unlink() if content is None else write(path, content)
    assert run(root) == 2
    assert re.search(message, capsys.readouterr().err)
    assert [path.name for path in (root / "out").iterdir()] == ["label_ids"]


def test_wrong_counts_and_names_are_found(root: Path) -> None:
    assert run(root) == 0
    wanted = {"berlin_000000_000019_leftImg8bit.png": (8, 16), "berlin_000002_000019_leftImg8bit.png": (8, 16),
              "berlin_000003_000019_leftImg8bit.png": (8, 16)}
    assert check(root / "out/submission.zip", wanted, IDS) == [
        "it contains 2 files, not 3",
        "files are missing (berlin_000002_000019_leftImg8bit.png, berlin_000003_000019_leftImg8bit.png)",
        "files belong to no image (berlin_000001_000019_leftImg8bit.png)"]


def test_labels_in_colors_are_checked_as_colors(tmp_path: Path) -> None:
    colors = np.array([[128, 64, 128], [0, 0, 142]], np.uint8)
    for name, rgb in (("right.png", colors[1]), ("wrong.png", colors[1][::-1])):
        write(tmp_path / name, np.broadcast_to(rgb[::-1], (4, 4, 3)).copy())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("right.png", "wrong.png"):
            archive.write(tmp_path / name, name)
    found = check(tmp_path / "a.zip", {"right.png": (4, 4), "wrong.png": (4, 4)}, colors)
    assert found == [f"files contain ids of no class (wrong.png: [{142 << 16}])"]


def test_images_of_one_name_in_two_folders_keep_the_longer_name() -> None:
    images = {"a_0001": Path("a/0001.jpg"), "b_0001": Path("b/0001.jpg"), "b_0002": Path("b/0002.jpg")}
    assert official_names(images) == {"a_0001": "a_0001.png", "b_0001": "b_0001.png", "b_0002": "0002.png"}


def test_a_dataset_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--ids", str(tmp_path)]) == 2
    assert "name the --dataset" in capsys.readouterr().err
