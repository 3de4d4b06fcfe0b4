from __future__ import annotations

import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import submission

CITY = "berlin_00000{}_000019"


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two test images of Cityscapes with label ids as eval.py writes them."""
    for i in range(2):
        image = tmp_path / "leftImg8bit/test/berlin" / f"{CITY.format(i)}_leftImg8bit.png"
        write(image, np.zeros((8, 16 + i, 3), np.uint8))
        label_ids = tmp_path / "out/label_ids" / f"{CITY.format(i)}.png"
        write(label_ids, np.full((8, 16 + i), 7 + 4 * i, np.uint8))
    return tmp_path


def run(root: Path) -> int:
    return submission.main(["--dataset", "cityscapes", "--data_root", str(root), "--ids",
                            str(root / "out/label_ids")])


def test_label_ids_are_written_under_the_official_names(
        root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root) == 0
    message = "2 files of label ids, their names, sizes and ids checked against Cityscapes test"
    assert message in capsys.readouterr().out
    with zipfile.ZipFile(root / "out/submission.zip") as archive:
        assert archive.namelist() == [f"{CITY.format(i)}_leftImg8bit.png" for i in range(2)]
        data = np.frombuffer(archive.read(archive.namelist()[1]), np.uint8)
    assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.full((8, 17), 11))


@pytest.mark.parametrize(("content", "message"), [
    (None, r"lacks 1 of 2 images \(berlin_000001_000019\): run eval.py --dump_images"),
    (np.full((8, 16), 7, np.uint8),
     r"files have another size than their image \(berlin_000001_000019_leftImg8bit.png\)"),
    (np.full((8, 17), 18, np.uint8),
     r"files contain ids of no class \(berlin_000001_000019_leftImg8bit.png: \[18\]\)"),
    (np.zeros((8, 17, 3), np.uint8), "files are not maps of label ids"),
    (np.full((8, 17), 7, np.uint16), "files are not maps of label ids"),
])
def test_a_submission_that_a_server_would_reject_is_not_written(
        root: Path, content: np.ndarray | None, message: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "out/label_ids" / f"{CITY.format(1)}.png"
    path.unlink()
    if content is not None:
        write(path, content)
    assert run(root) == 2
    assert re.search(message, capsys.readouterr().err)
    assert [path.name for path in (root / "out").iterdir()] == ["label_ids"]


def test_a_dataset_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submission.main(["--ids", str(tmp_path)]) == 2
    assert "name the --dataset" in capsys.readouterr().err
