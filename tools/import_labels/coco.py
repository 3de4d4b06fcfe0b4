"""COCO: instances with polygons or run-length encoded masks, and panoptic segments in PNG files."""
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets.image_files import read_label
from datasets.spec import RGB, DatasetError
from tools.import_labels.files import only_file, read_json
from tools.import_labels.pictures import relative_path
from tools.import_labels.run_lengths import decode_coco
from tools.import_labels.shapes import AnnotatedImage, Annotations, Shape, Window, reading, ring

KEYS = ("images", "annotations", "categories")


def read(source: Path, masks: Path | None = None) -> Annotations:
    """Reads a JSON file of instances or of panoptic segments.

    The classes are the file's categories, in its order. An object without segmentation, such as a
    box, has no area.

    Args:
        masks: folder with the PNG files of panoptic segments; by default the one beside the file
            that has its stem.

    Raises:
        DatasetError: the file is damaged, an annotation has a category or an image that the file
            does not list, or a mask is of another size than its image.
    """
    path = only_file(source, (".json",), "one of its JSON files")
    content = read_json(path)
    missing = [key for key in KEYS if not isinstance(content.get(key), list)]
    if missing:
        raise DatasetError(f"{path} has no list {' and '.join(missing)}, so it is not a file of "
                           "COCO's instances or panoptic segments.")
    annotations = Annotations()
    with reading(f"{path}: categories"):
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        annotations.classes = {names[entry["id"]]: _color(entry)
                               for entry in content["categories"]}
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for number, entry in enumerate(content["annotations"]):
        with reading(f"{path}: annotation {number}"):
            by_image.setdefault(entry["image_id"], []).append(entry)
    for number, entry in enumerate(content["images"]):
        with reading(f"{path}: image {number}"):
            size = int(entry["height"]), int(entry["width"])
            entries = by_image.pop(entry["id"], [])
            load = partial(_load, path, masks or path.with_suffix(""), names, size, entries)
            boxes = [annotation for annotation in entries if not _has_area(annotation)]
            annotations.leave_out("objects without segmentation", len(boxes))
            annotations.images.append(AnnotatedImage(
                str(entry["file_name"]), path, load, size, is_empty=len(boxes) == len(entries)))
    if by_image:
        raise DatasetError(f"{path}: annotations belong to image id {next(iter(by_image))}, which "
                           "the list of images lacks: the file is incomplete, export it again.")
    return annotations


def _has_area(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("segmentation") or annotation.get("segments_info"))


def _color(category: dict[str, Any]) -> RGB | None:
    color = category.get("color")
    if color is None:
        return None
    red, green, blue = map(int, color)
    return red, green, blue


def _load(path: Path, masks: Path, names: dict[Any, str], size: tuple[int, int],
          entries: list[dict[str, Any]]) -> list[Shape]:
    """Returns the shapes of one image."""
    shapes: list[Shape] = []
    for entry in entries:
        with reading(f"{path}: annotation {entry.get('id', entry.get('file_name'))}"):
            if "segments_info" in entry:
                file = masks / relative_path(entry["file_name"])
                shapes += _segments(file, names, size, entry)
            elif _has_area(entry):
                name = _name(names, entry["category_id"])
                shapes.append(_shape(name, entry["segmentation"], size))
    return shapes


def _name(names: dict[Any, str], category: Any) -> str:
    if category not in names:
        raise ValueError(f"the category {category} is not in the list of categories "
                         f"({', '.join(map(str, [*names][:20]))}): add it there, with its name")
    return names[category]


def _shape(name: str, segmentation: Any, size: tuple[int, int]) -> Shape:
    if isinstance(segmentation, list):
        rings = [ring(np.reshape(np.asarray(points, np.float64), (-1, 2)))
                 for points in segmentation if len(points)]
        return Shape(name, tuple(rings))
    height, width = map(int, segmentation["size"])
    if (height, width) != size:
        raise ValueError(f"its mask has {height}x{width} pixels (height x width), but its image "
                         f"{size[0]}x{size[1]}")
    mask = decode_coco(segmentation["counts"], height, width)
    return Shape(name, mask=lambda: Window(0, 0, mask))


def _segments(file: Path, names: dict[Any, str], size: tuple[int, int],
              entry: dict[str, Any]) -> list[Shape]:
    """Returns the segments of a PNG file, whose colors are id = R + 256 G + 256^2 B."""
    file = file.with_suffix(".png")
    if not file.is_file():
        raise DatasetError(f"{file} is missing: name the folder of the panoptic masks with "
                           "--masks.")
    # read_label returns R << 16 | G << 8 | B
    colors = read_label(file, colors=True)
    ids = (colors >> 16) | (colors & 0xFF00) | ((colors & 0xFF) << 16)
    if ids.shape != size:
        raise ValueError(f"{file} has {ids.shape[0]}x{ids.shape[1]} pixels (height x width), but "
                         f"its image {size[0]}x{size[1]}")
    listed = {segment["id"]: segment["category_id"] for segment in entry["segments_info"]}
    unknown = sorted({*np.unique(ids).tolist()} - {0, *listed})
    if unknown:
        raise ValueError(f"{file} holds segment {unknown[0]}, which segments_info lacks")
    return [Shape(_name(names, category), mask=partial(_window, ids, segment))
            for segment, category in listed.items()]


def _window(ids: np.ndarray, segment: int) -> Window:
    return Window(0, 0, ids == segment)
