from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.spec import DatasetError
from tools.import_labels.colors import VOC_NAMES, read_colors, read_table, read_voc, voc_color

ROAD, CAR = (128, 64, 128), (0, 0, 142)


def write_mask(path: Path, *colors: tuple[int, int, int]) -> None:
    """A label of two columns for each color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.array(colors, np.uint8).repeat(2, 0)[None].repeat(8, 0)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def test_vocs_palette_is_the_published_one() -> None:
    # aeroplane, bicycle, tvmonitor; index 255 marks the outlines of objects
    assert [voc_color(index) for index in (0, 1, 2, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 64, 128), (224, 224, 192)]
    assert len({voc_color(index) for index in range(256)}) == 256


def test_a_palette_file_of_voc_is_read_with_its_splits(tmp_path: Path) -> None:
    (tmp_path / "SegmentationClass").mkdir()
    indices = np.array([[0, 15], [255, 15]], np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([value for index in range(256) for value in voc_color(index)])
    image.save(tmp_path / "SegmentationClass/2007_1.png")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_1\n")
    annotations = read_voc(tmp_path)
    assert [*annotations.classes][:21] == [*VOC_NAMES]
    (found,) = annotations.images
    assert (found.file, found.split, found.size) == ("2007_1", "val", (2, 2))
    shapes = {shape.name: shape.fill(2, 2)[0].mask for shape in found.load()}
    assert {name: int(mask.sum()) for name, mask in shapes.items()} == {
        "background": 1, "person": 2, "__ignore__": 1}
    assert shapes["person"].tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize("text", [
    "# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n",
    "name,r,g,b\nroad,128,64,128\ncar, 0, 0, 142\n",
    "road\t128\t64\t128\ncar\t0\t0\t142",
])
def test_tables_of_colors(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    assert read_table(tmp_path / "t.txt") == {ROAD: "road", CAR: "car"}


def test_classes_without_a_color_have_those_of_vocs_palette(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("# label:color_rgb:parts:actions\nbackground:::\nroad:::\n")
    assert read_table(tmp_path / "t.txt") == {(0, 0, 0): "background", (128, 0, 0): "road"}


@pytest.mark.parametrize(("text", "message"), [
    ("road,128,64,128\ncar,1,2\n", "line 2: 'car,1,2' is no class"),
    ("road,128,64,300\n", "line 1"),
    ("road,128,64,128\ncar,128,64,128\n", "road and car have the same color"),
])
def test_a_line_that_is_no_color_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_table(tmp_path / "t.txt")


def test_masks_of_cvat_come_with_their_table(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("road:128,64,128::\ncar:0,0,142::\n")
    write_mask(tmp_path / "SegmentationClass/sub/a.png", ROAD, CAR, CAR)
    (image,) = read_voc(tmp_path).images
    assert image.file == "sub/a"
    assert [(shape.name, int(shape.fill(8, 6)[0].mask.sum())) for shape in image.load()] == [
        ("car", 32), ("road", 16)]


def test_a_color_without_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    (tmp_path / "class_dict.csv").write_text("road,128,64,128")
    write_mask(tmp_path / "labels/a.png", ROAD, CAR)
    (image,) = read_colors(tmp_path / "labels").images
    with pytest.raises(DatasetError, match=r"a.png holds .*\(0, 0, 142\) \(16 pixels\).*__ignore_"):
        image.load()


def test_a_table_and_masks_are_required(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name a table of the colors with --table"):
        read_colors(tmp_path)
    with pytest.raises(DatasetError, match="has no folder SegmentationClass"):
        read_voc(tmp_path)
