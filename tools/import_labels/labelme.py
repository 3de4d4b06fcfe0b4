"""LabelMe: one JSON file for each image, with polygons, rectangles, circles and masks."""
from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.spec import DatasetError
from tools.import_labels.files import files_in, read_json
from tools.import_labels.shapes import (
    AnnotatedImage,
    Annotations,
    Shape,
    Window,
    ellipse,
    reading,
    rectangle,
    ring,
)

# shapes without an area
LINES = {"line": "lines", "linestrip": "lines", "point": "points", "points": "points"}


def read(source: Path) -> Annotations:
    """Reads the JSON files below a folder, or a single one.

    The classes are the labels of the shapes, in alphabetical order. Later shapes lie on top.

    Raises:
        DatasetError: a file is not one of LabelMe's.
    """
    annotations = Annotations()
    for path in files_in(source, ".json") if source.is_dir() else [source]:
        content = read_json(path)
        if "shapes" not in content:
            raise DatasetError(f"{path} has no \"shapes\", so it is not a file of LabelMe: remove "
                               "it from the folder, or choose another FORMAT.")
        with reading(str(path)):
            annotations.images.append(_image(source, path, content, annotations))
    names = {shape.name for image in annotations.images for shape in image.load()}
    annotations.classes = dict.fromkeys(sorted(names))
    return annotations


def _image(source: Path, path: Path, content: dict[str, Any],
           annotations: Annotations) -> AnnotatedImage:
    shapes = []
    for number, entry in enumerate(content["shapes"]):
        with reading(f"{path}: shape {number}"):
            kind = entry.get("shape_type") or "polygon"
            if kind in LINES:
                annotations.leave_out(f"{LINES[kind]} {entry['label']!r}")
            else:
                shapes.append(_shape(kind, entry))
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = (int(height), int(width)) if height and width else None
    file = content.get("imagePath") or path.stem
    # or beside the file, after both were moved together
    folders = ((path.parent / file.replace("\\", "/")).parent, path.parent)
    name = path.relative_to(source) if source.is_dir() else Path(path.name)
    return AnnotatedImage(file, path, lambda: shapes, size,
                          is_empty=not shapes, folders=folders,
                          name=name.with_suffix("").as_posix())


def _shape(kind: str, entry: dict[str, Any]) -> Shape:
    name, points = str(entry["label"]), ring(entry["points"])
    if kind == "polygon":
        outline = points
    elif kind == "rectangle":
        outline = rectangle(*points.min(0), *points.max(0))
    elif kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        outline = ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius)
    elif kind in ("mask", "ai_mask"):
        left, top = np.rint(points[0]).astype(int).tolist()
        mask = partial(_decode_mask, entry["mask"], top, left)
        # raises for a damaged mask; kept masks of all images would fill the memory
        mask()
        return Shape(name, mask=mask)
    else:
        raise ValueError(f"the shape_type {kind!r} is unknown")
    return Shape(name, (outline,))


def _decode_mask(data: str, top: int, left: int) -> Window:
    """Returns the pixels of a PNG file in base64."""
    values = np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
    mask = cv2.imdecode(values, cv2.IMREAD_GRAYSCALE) if len(values) else None
    if mask is None:
        raise ValueError("its mask is not a PNG file in base64")
    return Window(top, left, mask > 0)
