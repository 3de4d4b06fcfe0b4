"""Label files in colors: PASCAL VOC's palette, CVAT's masks, and PNG files with a table."""
from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from datasets.image_files import image_size, read_label
from datasets.spec import RGB, DatasetError, int_to_rgb, rgb_to_int
from tools.import_labels.files import files_in, read_text
from tools.import_labels.shapes import (
    IGNORED_NAME,
    AnnotatedImage,
    Annotations,
    Shape,
    Window,
)

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)
# the outlines of objects in VOC's files
VOC_VOID: RGB = (224, 224, 192)
VOC_LISTS = ("train", "val", "test")


def voc_color(index: int) -> RGB:
    """Returns a color of VOC's palette: the bits of the index, three by three, from the highest."""
    color = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            color[channel] |= (index >> channel & 1) << (7 - bit)
        index >>= 3
    return color[0], color[1], color[2]


def read_voc(source: Path, table: Path | None = None) -> Annotations:
    """Reads JPEGImages/, SegmentationClass/ and the lists in ImageSets/Segmentation/.

    This is also the layout of CVAT's "Segmentation mask 1.1", which adds labelmap.txt.

    Raises:
        DatasetError: the folder has no SegmentationClass/, or a file has a color without class.
    """
    folder = source / "SegmentationClass"
    if not folder.is_dir():
        raise DatasetError(f"{source} has no folder SegmentationClass/: name the one that has.")
    table = table or source / "labelmap.txt"
    if table.is_file():
        colors = read_table(table)
    else:
        colors = {voc_color(index): name for index, name in enumerate(VOC_NAMES)}
        colors[VOC_VOID] = IGNORED_NAME
    splits: dict[str, str] = {}
    for split in VOC_LISTS:
        listed = source / "ImageSets/Segmentation" / f"{split}.txt"
        if listed.is_file():
            splits |= dict.fromkeys(read_text(listed).split(), split)
    return _annotations(folder, colors, splits)


def read_colors(source: Path, table: Path | None = None) -> Annotations:
    """Reads a folder of PNG files in the colors of a table.

    Args:
        table: see `read_table`; by default labelmap.txt or class_dict.csv in the folder or above.

    Raises:
        DatasetError: there is no table, or a file has a color that it lacks.
    """
    tables = [folder / name for folder in (source, source.parent)
              for name in ("labelmap.txt", "class_dict.csv")]
    table = table or next((path for path in tables if path.is_file()), None)
    if table is None:
        raise DatasetError(f"{source}: name a table of the colors with --table: in each line a "
                           "class and its red, green and blue, such as road,128,64,128.")
    return _annotations(source, read_table(table), {})


def read_table(path: Path) -> dict[RGB, str]:
    """Returns color -> class of a table.

    A line is `name,red,green,blue`, or `name:red,green,blue:...` as in CVAT's labelmap.txt. There a
    class without a color has that of its number in VOC's palette. Lines that begin with #, and a
    header line, are skipped.

    Raises:
        DatasetError: a line is invalid, or a color stands for two classes.
    """
    colors: dict[RGB, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = [word.strip() for word in re.split(r"[,:;\t]", line)]
        is_header = number == 1 and ":" not in line and not any(map(str.isdigit, words))
        if not line.strip() or line.startswith("#") or is_header:
            continue
        if ":" in line and not any(words[1:]):
            words[1:4] = map(str, voc_color(len(colors)))
        try:
            red, green, blue = (int(word) for word in words[1:4])
            # raises if a number is not in 0..255
            bytes((red, green, blue))
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {line!r} is no class with its color, such "
                               "as road,128,64,128.") from error
        name = colors.setdefault((red, green, blue), words[0])
        if name != words[0]:
            raise DatasetError(f"{path}, line {number}: {name} and {words[0]} have the same color.")
    return colors


def _annotations(folder: Path, colors: dict[RGB, str], splits: dict[str, str]) -> Annotations:
    annotations = Annotations()
    for color, name in colors.items():
        # a class with several colors is drawn in its first
        annotations.classes.setdefault(name, color)
    names = {rgb_to_int(color): name for color, name in colors.items()}
    for path in files_in(folder, ".png"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        annotations.images.append(AnnotatedImage(
            name, path, partial(_load, path, names), image_size(path), splits.get(name, "")))
    return annotations


def _load(path: Path, names: dict[int, str]) -> list[Shape]:
    """Returns one shape for each color of a file."""
    colors = read_label(path, colors=True)
    values, counts = np.unique(colors, return_counts=True)
    unknown = [(value, count) for value, count in zip(values.tolist(), counts.tolist(), strict=True)
               if value not in names]
    if unknown:
        examples = ", ".join(f"{int_to_rgb(value)} ({count:,} pixels)"
                             for value, count in unknown[:5])
        raise DatasetError(f"{path} holds colors without a class: {examples}. Add them to the "
                           f"table; {IGNORED_NAME} as their class leaves them out.")
    return [Shape(names[value], mask=partial(_window, colors, value)) for value in values.tolist()]


def _window(colors: np.ndarray, value: int) -> Window:
    return Window(0, 0, colors == value)
