"""YOLO polygons: a text file for each image, in the folders that Ultralytics' data.yaml names."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from datasets.image_files import image_size
from datasets.listing import IMAGE_SUFFIXES
from datasets.spec import DatasetError
from tools.import_labels.files import files_in, only_file, read_text
from tools.import_labels.shapes import AnnotatedImage, Annotations, Shape, reading, ring

SPLITS = ("train", "val", "test")


def read(source: Path) -> Annotations:
    """Reads a data.yaml, or the folder that holds it.

    The labels of `images/a/b.jpg` are `labels/a/b.txt`: in each line a class and the corners of a
    polygon, x and y as fractions of the image. A line with a box has no area.

    Raises:
        DatasetError: the file or a line is invalid, or a class has no name.
    """
    path = only_file(source, (".yaml", ".yml"), "its data.yaml")
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DatasetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    annotations = Annotations()
    with reading(f"{path}: names"):
        names = content["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        annotations.classes = dict.fromkeys(str(name) for name in names.values())
    with reading(str(path)):
        root = path.parent / str(content.get("path") or "")
        # `path` is often that of the machine that wrote the file
        root = root if root.is_dir() else path.parent
        for split in SPLITS:
            for folder, file in _images(path, root, content.get(split)):
                labels = _labels_of(folder / file)
                if labels.is_file():
                    annotations.images.append(
                        _image(folder, file, labels, names, split, annotations))
                else:
                    annotations.leave_out_image("images without a text file")
    return annotations


def _images(path: Path, root: Path, entry: Any) -> list[tuple[Path, str]]:
    """Returns the images of a split as (folder, path below it).

    Args:
        entry: a folder, a list of folders, or a text file that lists the images.

    Raises:
        DatasetError: there is no such folder or file.
    """
    if not entry:
        return []
    if isinstance(entry, list):
        return [image for part in entry for image in _images(path, root, part)]
    place = root / str(entry)
    if not place.exists():
        # some exports write ../train/images for train/images
        place = root / str(entry).removeprefix("../")
    if place.is_dir():
        return [(place, image.relative_to(place).as_posix()) for image in files_in(place, "")
                if image.suffix.lower() in IMAGE_SUFFIXES]
    if place.is_file():
        lines = [line.strip() for line in read_text(place).splitlines()]
        return [(root, line.removeprefix("./")) for line in lines if line]
    raise DatasetError(f"{path} names {entry}, but {place} does not exist: fix the path.")


def _labels_of(image: Path) -> Path:
    """Returns the text file of an image: the last folder `images` of its path becomes `labels`."""
    parts = [*image.parts]
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _image(folder: Path, file: str, labels: Path, names: dict[Any, Any], split: str,
           annotations: Annotations) -> AnnotatedImage:
    if not (folder / file).is_file():
        # reported with the other missing images
        return AnnotatedImage(file, labels, list, split=split)
    height, width = image_size(folder / file)
    shapes = []
    for number, line in enumerate(read_text(labels).splitlines(), start=1):
        with reading(f"{labels}, line {number}"):
            words = line.split()
            if not words:
                continue
            name = names.get(int(words[0]))
            if name is None:
                raise ValueError(f"the class {words[0]} has no name in data.yaml")
            if len(words) == 5:
                annotations.leave_out(f"boxes {str(name)!r}")
                continue
            points = np.array(words[1:], np.float64).reshape(-1, 2) * (width, height)
            shapes.append(Shape(str(name), (ring(points),)))
    return AnnotatedImage(file, labels, lambda: shapes, split=split, is_empty=not shapes,
                          folders=(folder,))
