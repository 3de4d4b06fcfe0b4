from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.spec import DatasetError
from tests.tools.import_labels.conftest import LEFT, MIDDLE, labelme, write_labelme
from tools.import_labels.labelme import read


def test_shapes_are_read_in_their_order_and_classes_by_name(folder: Path) -> None:
    mask = np.zeros((3, 2), np.uint8)
    mask[1:] = 255
    encoded = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()
    write_labelme(
        folder / "a.json", labelme("road", LEFT), labelme("car", MIDDLE),
        labelme("box", [[6, 6], [2, 2]], shape_type="rectangle"),
        labelme("wheel", [[4, 4], [4, 6]], shape_type="circle"),
        labelme("dust", [[5, 1], [6, 3]], shape_type="mask", mask=encoded),
        labelme("lane", [[0, 0], [5, 5]], shape_type="linestrip"),
        labelme("spot", [[0, 0]], shape_type="point"))
    annotations = read(folder)
    assert [*annotations.classes] == ["box", "car", "dust", "road", "wheel"]
    assert annotations.left_out == {"lines 'lane'": 1, "points 'spot'": 1}
    (image,) = annotations.images
    assert (image.file, image.size) == ("a.png", (8, 8))
    windows = [shape.fill(8, 8)[0] for shape in image.load()]
    # the circle of radius 2 covers the centers within: 2 + 4 + 4 + 2
    assert [int(window.mask.sum()) for window in windows] == [32, 16, 16, 12, 4]
    assert windows[4][:2] == (1, 5) and windows[4].mask.tolist() == [[0, 0], [1, 1], [1, 1]]


def test_masks_are_not_kept_in_memory(folder: Path) -> None:
    encoded = base64.b64encode(cv2.imencode(".png", np.ones((3, 2), np.uint8))[1]).decode()
    write_labelme(folder / "a.json",
                  labelme("dust", [[5, 1], [6, 3]], shape_type="mask", mask=encoded))
    (shape,) = read(folder).images[0].load()
    assert shape.mask is not None
    assert shape.mask().mask is not shape.mask().mask


@pytest.mark.parametrize(("shape", "message"), [
    ({"points": LEFT}, r"shape 0 .*'label' is missing"),
    (labelme("a", [[1, 2, 3]]), "pairs of x and y"),
    (labelme("a", [["x", 1]]), "could not convert"),
    (labelme("a", LEFT, shape_type="cube"), "the shape_type 'cube' is unknown"),
    (labelme("a", [[1, 1], [2, 2]], shape_type="mask", mask="AAAA"), "not a PNG file in base64"),
    (labelme("a", [[1, 1]], shape_type="circle"), "shape 0"),
    ("road", "shape 0"),
])
def test_a_damaged_shape_is_named(folder: Path, shape: dict, message: str) -> None:
    write_labelme(folder / "a.json", shape)
    with pytest.raises(DatasetError, match=message) as error:
        read(folder)
    assert str(folder / "a.json") in str(error.value)


def test_a_file_of_another_program_is_refused(folder: Path) -> None:
    (folder / "b.json").write_text('{"images": []}')
    with pytest.raises(DatasetError, match=r'b.json has no "shapes".*choose another FORMAT'):
        read(folder)
