"""CVAT for images 1.1: one XML file with polygons, boxes, ellipses and masks."""
from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from datasets.spec import RGB, DatasetError
from tools.import_labels.files import only_file, read_xml
from tools.import_labels.run_lengths import decode_rows
from tools.import_labels.shapes import (
    AnnotatedImage,
    Annotations,
    Shape,
    Window,
    ellipse,
    reading,
    rectangle,
    ring,
    rotated,
)

LINES = {"polyline": "lines", "points": "points", "cuboid": "cuboids", "skeleton": "skeletons"}
# attributes of an image, not shapes
NOT_SHAPES = ("tag", "attribute")


def read(source: Path) -> Annotations:
    """Reads `annotations.xml`, or the folder of an unpacked export that holds it.

    The classes are the labels of the project, in its order; shapes lie in the order of their
    `z_order`. Boxes are areas, as in CVAT's own export of masks.

    Raises:
        DatasetError: the file is not one of CVAT's, or a mask does not fit its size.
    """
    path = only_file(source, (".xml",), "its annotations.xml")
    root = read_xml(path)
    if root.tag != "annotations":
        raise DatasetError(f"{path} begins with <{root.tag}>, not with <annotations>: export the "
                           "labels as \"CVAT for images 1.1\".")
    if root.find("track") is not None:
        raise DatasetError(f"{path} is an export of \"CVAT for video\": export the labels as "
                           "\"CVAT for images 1.1\".")
    annotations = Annotations()
    for label in root.iterfind("meta//labels/label"):
        with reading(f"{path}: label"):
            annotations.classes[_text(label, "name")] = _color(label.findtext("color"))
    for image in root.iterfind("image"):
        with reading(f"{path}: image {image.get('name')}"):
            annotations.images.append(_image(path, image, annotations))
    return annotations


def _image(path: Path, image: Element, annotations: Annotations) -> AnnotatedImage:
    shapes = []
    for entry in image:
        if entry.tag in LINES:
            annotations.leave_out(f"{LINES[entry.tag]} {entry.get('label')!r}")
        elif entry.tag not in NOT_SHAPES:
            shape = _shape(entry)
            # exports without <meta> list no labels
            annotations.classes.setdefault(shape.name)
            shapes.append(shape)
    size = int(image.attrib["height"]), int(image.attrib["width"])
    subset = image.get("subset", "").lower()
    # "default" is the name of the subset of images that belong to none
    split = "" if subset == "default" else subset
    return AnnotatedImage(image.attrib["name"], path, lambda: shapes, size, split,
                          is_empty=not shapes, folders=(path.parent / "images",))


def _shape(entry: Element) -> Shape:
    name, values = entry.attrib["label"], entry.attrib
    order = int(values.get("z_order", 0))
    if entry.tag == "mask":
        mask = partial(_decode_mask, values)
        # raises for a damaged mask; kept masks of all images would fill the memory
        mask()
        return Shape(name, mask=mask, order=order)
    if entry.tag == "polygon":
        outline = ring([[float(value) for value in point.split(",")]
                        for point in values["points"].split(";")])
    elif entry.tag == "box":
        outline = rectangle(*(float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr")))
    elif entry.tag == "ellipse":
        outline = ellipse(*(float(values[key]) for key in ("cx", "cy", "rx", "ry")))
    else:
        raise ValueError(f"the shape <{entry.tag}> is unknown")
    return Shape(name, (_turned(outline, values),), order=order)


def _decode_mask(values: dict[str, str]) -> Window:
    """Returns the pixels of a `<mask>` with these attributes."""
    runs = [int(run) for run in values["rle"].split(",")]
    mask = decode_rows(runs, int(values["height"]), int(values["width"]))
    return Window(int(values["top"]), int(values["left"]), mask)


def _turned(outline: np.ndarray, values: dict[str, str]) -> np.ndarray:
    degrees = float(values.get("rotation", 0))
    return rotated(outline, degrees) if degrees else outline


def _text(entry: Element, tag: str) -> str:
    text = entry.findtext(tag)
    if not text:
        raise ValueError(f"<{tag}> is missing")
    return text


def _color(text: str | None) -> RGB | None:
    """Reads #rrggbb."""
    if not text:
        return None
    red, green, blue = bytes.fromhex(text.lstrip("#"))
    return red, green, blue
