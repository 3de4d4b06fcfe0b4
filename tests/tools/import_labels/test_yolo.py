from __future__ import annotations

from pathlib import Path

import pytest

from datasets.spec import DatasetError
from tests.tools.import_labels.conftest import write_picture
from tools.import_labels.yolo import read

# the left half; a box
LINES = "1 0 0 0.5 0 0.5 1 0 1\n0 0.5 0.5 0.2 0.2\n\n"


def write(root: Path, data: str, lines: str = LINES) -> Path:
    for split in ("train", "val"):
        write_picture(root / f"images/{split}/sub/0.png", 8, 16)
        labels = root / f"labels/{split}/sub/0.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(lines)
    write_picture(root / "images/train/empty.png")
    (root / "data.yaml").write_text(data)
    return root / "data.yaml"


@pytest.mark.parametrize("data", [
    "names: {0: car, 1: road}\ntrain: images/train\nval: images/val\n",
    "names: [car, road]\ntrain: ../images/train\nval: ./images/val\npath: /of/another/machine\n",
    "names: [car, road]\ntrain: [images/train]\nval: val.txt\n",
])
def test_polygons_are_scaled_to_their_image(tmp_path: Path, data: str) -> None:
    path = write(tmp_path, data)
    (tmp_path / "val.txt").write_text("./images/val/sub/0.png\n")
    annotations = read(path)
    assert [*annotations.classes] == ["car", "road"]
    assert [image.split for image in annotations.images] == ["train", "val"]
    for image in annotations.images:
        assert (image.folders[0] / image.file).is_file()
        (shape,) = image.load()
        assert shape.name == "road"
        assert shape.fill(8, 16)[0].mask.shape == (8, 8)
    assert annotations.left_out == {"boxes 'car'": 2}
    assert annotations.images_left_out == {"images without a text file": 1}


@pytest.mark.parametrize(("data", "lines", "message"), [
    ("train: images/train\n", LINES, "names .*'names' is missing"),
    ("names: [car]\ntrain: images/train\n", LINES, "0.txt, line 1 .*class 1 has no name"),
    ("names: [car, road]\ntrain: images/train\n", "1 0 0 0.5 0 0.5 1 0\n", "0.txt, line 1"),
    ("names: [car, road]\ntrain: images/train\n", "road 0 0 1 0 1 1\n", "0.txt, line 1"),
    ("names: [car, road]\ntrain: images/train\n", "1\n", "0.txt, line 1 .*it has no points"),
    ("names: [car, road]\ntrain: pictures\n", LINES, "pictures does not exist: fix the path"),
    ("names: [car\n", LINES, "is not YAML"),
])
def test_a_damaged_file_is_named(tmp_path: Path, data: str, lines: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(write(tmp_path, data, lines))
