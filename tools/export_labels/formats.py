"""The table of formats: LabelMe's polygons and COCO's masks."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.spec import DatasetSpec
from tools.export_labels.regions import outline, regions
from tools.import_labels.run_lengths import encode_coco
from utils.files import write_text

LABELME_FILE, COCO_FILE = "{name}.json", "instances.json"


class Prediction(NamedTuple):
    """An image and its label map (H, W) of train ids."""

    name: str
    image: Path
    label: np.ndarray


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        write: (predictions, spec, folder, smallest) writes the files; `smallest` is the number of
            pixels of the smallest region that is written.
        upright: images are turned as their EXIF orientation says, as the tool shows them.
        file: name of the file of an image, with its `{name}`, or of all images.
        help: what is written.
    """

    write: Callable[[Iterable[Prediction], DatasetSpec, Path, int], None]
    upright: bool
    file: str
    help: str


def write_labelme(predictions: Iterable[Prediction], spec: DatasetSpec, folder: Path,
                  smallest: int) -> None:
    """Writes one JSON file for each image, with a polygon for each region."""
    for name, image, label in predictions:
        shapes = []
        for region in regions(label, smallest):
            points = outline(region.window).round(2).tolist()
            shapes.append({"label": spec.names[region.train_id], "points": points,
                           "group_id": None, "description": "", "shape_type": "polygon",
                           "flags": {}})
        content = {"version": "5.0.0", "flags": {}, "shapes": shapes,
                   "imagePath": os.path.relpath(image, folder), "imageData": None,
                   "imageHeight": label.shape[0], "imageWidth": label.shape[1]}
        write_text(folder / LABELME_FILE.format(name=name), json.dumps(content, indent=1))


def write_coco(predictions: Iterable[Prediction], spec: DatasetSpec, folder: Path,
               smallest: int) -> None:
    """Writes one file, with a run-length encoded mask for each region. Ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, image, label in predictions:
        height, width = label.shape
        images.append({"id": len(images) + 1, "file_name": image.name, "height": height,
                       "width": width, "name": name})
        for region in regions(label, smallest):
            top, left, mask = region.window
            whole = np.zeros(label.shape, bool)
            whole[region.window.slices] = mask
            annotations.append({
                "id": len(annotations) + 1, "image_id": len(images),
                "category_id": region.train_id + 1, "segmentation": encode_coco(whole),
                "area": int(mask.sum()), "bbox": [left, top, *mask.shape[::-1]], "iscrowd": 0})
    categories = [{"id": train_id + 1, "name": info.name, "supercategory": info.category}
                  for train_id, info in enumerate(spec.classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text(folder / COCO_FILE, json.dumps(content))


FORMATS = {
    "labelme": Format(write_labelme, upright=True, file=LABELME_FILE,
                      help="a JSON file for each image, with polygons"),
    "coco": Format(write_coco, upright=False, file=COCO_FILE,
                   help=f"{COCO_FILE} with run-length encoded masks (pip install '.[labels]')"),
}
