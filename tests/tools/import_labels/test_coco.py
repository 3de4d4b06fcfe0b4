from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.spec import DatasetError
from tests.tools.import_labels.conftest import coco
from tools.import_labels.coco import read

# the left half, as COCO writes it
LEFT = [[0, 0, 4, 0, 4, 8, 0, 8]]


def write(folder: Path, content: Any) -> Path:
    path = folder / "found.json"
    path.write_text(json.dumps(content))
    return path


def sizes(path: Path) -> list[tuple[str, int]]:
    """Name and number of pixels of the shapes of the only image."""
    (image,) = read(path).images
    return [(shape.name, int(shape.fill(8, 8)[0].mask.sum())) for shape in image.load()]


def test_polygons_and_masks_are_read_with_the_names_of_their_categories(folder: Path) -> None:
    path = write(folder, coco(
        {"category_id": 3, "segmentation": [*LEFT, [6, 0, 8, 0, 8, 4, 6, 4]]},
        {"category_id": 7, "segmentation": {"size": [8, 8], "counts": [8, 16, 40]}},
        {"category_id": 7, "bbox": [0, 0, 2, 2], "segmentation": []}))
    annotations = read(path)
    assert [*annotations.classes] == ["car", "road"]
    assert annotations.left_out == {"objects without segmentation": 1}
    # 4 x 8 and 2 x 4 pixels; two columns
    assert sizes(path) == [("road", 40), ("car", 16)]


def test_panoptic_segments_are_read_from_the_png_files(folder: Path) -> None:
    ids = np.zeros((8, 8), np.uint32)
    ids[:, :3], ids[:, 3:5] = 5, 5 + 256 * 2 + 65536
    bgr = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)
    (folder / "found").mkdir()
    cv2.imwrite(str(folder / "found/a.png"), bgr)
    segments = [{"id": 5, "category_id": 3}, {"id": 66053, "category_id": 7}]
    content = coco({"file_name": "a.png", "segments_info": segments},
                   categories=[{"id": 7, "name": "car", "color": [1, 2, 3]},
                               {"id": 3, "name": "road"}])
    path = write(folder, content)
    assert sizes(path) == [("road", 24), ("car", 16)]
    assert read(path).classes == {"car": (1, 2, 3), "road": None}
    # steps out of the folder of the masks are dropped
    content["annotations"][0]["file_name"] = "../a.png"
    assert sizes(write(folder, content)) == [("road", 24), ("car", 16)]
    content["annotations"][0]["segments_info"] = segments[:1]
    with pytest.raises(DatasetError, match="holds segment 66053, which segments_info lacks"):
        sizes(write(folder, content))
    (folder / "found/a.png").unlink()
    with pytest.raises(DatasetError, match=r"a.png is missing: .*--masks"):
        sizes(path)


@pytest.mark.parametrize(("annotation", "message"), [
    ({"category_id": 99, "segmentation": LEFT},
     r"annotation 0 .*category 99 is not in the list of categories \(7, 3\)"),
    ({"segmentation": LEFT}, "'category_id' is missing"),
    ({"category_id": 3, "segmentation": {"size": [8, 9], "counts": [72]}},
     r"its mask has 8x9 pixels .* but its image 8x8"),
    ({"category_id": 3, "segmentation": {"size": [8, 8], "counts": [70]}},
     "the runs add up to 70 pixels, but the mask has 64"),
    ({"category_id": 3, "segmentation": {"counts": [64]}}, "'size' is missing"),
    ({"category_id": 3, "segmentation": [[1, 2, 3]]}, "annotation 0"),
    ({"category_id": 3, "segmentation": 4}, "annotation 0"),
    ({"category_id": 3, "segmentation": {"size": [8, 8], "counts": [2**70]}}, "annotation 0"),
])
def test_a_damaged_annotation_is_named(folder: Path, annotation: dict, message: str) -> None:
    path = write(folder, coco(annotation))
    with pytest.raises(DatasetError, match=message) as error:
        sizes(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("content", "message"), [
    ({"images": []}, "has no list annotations and categories"),
    (coco(images=[{"id": 1, "file_name": "a.png"}]), "image 0 .*'height' is missing"),
    (coco({"category_id": 3, "segmentation": LEFT}, images=[]),
     "annotations belong to image id 1, which the list of images lacks"),
    (coco(images=[{"id": 1, "file_name": "a.png", "height": float("inf"), "width": 8}]),
     "image 0 is malformed"),
    (coco(categories=[{"name": "car"}]), "categories .*'id' is missing"),
])
def test_an_incomplete_file_is_refused(folder: Path, content: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(write(folder, content))
