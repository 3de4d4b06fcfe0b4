"""Writers of the smallest files that annotation tools write."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Import = Callable[..., Path]

# x and y of the left half, the right half and the middle of an image of 8x8
LEFT, RIGHT = [[0, 0], [4, 0], [4, 8], [0, 8]], [[4, 0], [8, 0], [8, 8], [4, 8]]
MIDDLE = [[2, 2], [6, 2], [6, 6], [2, 6]]


def write_picture(path: Path, height: int = 8, width: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def labelme(label: str, points: Sequence[Sequence[float]], **entries: Any) -> dict[str, Any]:
    """A shape of LabelMe."""
    return {"label": label, "points": points, "shape_type": "polygon", **entries}


def write_labelme(path: Path, *shapes: dict[str, Any], **entries: Any) -> Path:
    """A JSON file of LabelMe for the image of its stem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"shapes": shapes, "imagePath": f"{path.stem}.png", "imageHeight": 8,
               "imageWidth": 8, **entries}
    path.write_text(json.dumps(content))
    return path


def coco(*annotations: dict[str, Any], **entries: Any) -> dict[str, Any]:
    """A file of COCO with one image of 8x8 and the categories 3 and 7."""
    numbered = [{"id": number, "image_id": 1, **annotation}
                for number, annotation in enumerate(annotations)]
    return {"images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
            "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "road"}],
            "annotations": numbered, **entries}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one image, a.png, of 8x8."""
    write_picture(tmp_path / "in/a.png")
    return tmp_path / "in"
