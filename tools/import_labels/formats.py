"""The table of formats: their readers, the folders of their images, and their rules of overlap.

Libraries that read some of them, in 2026-11:

- pycocotools 2.0.11 (FreeBSD license, 1.8 MB, needs numpy only, kept up by COCO's users) writes
  COCO's compressed masks for tools.export_labels. It is the extra `labels`.
- datumaro 1.13 (MIT, 9 MB) reads most formats but LabelMe's JSON. It brings 22 packages, pyarrow
  and pandas among them, excludes OpenCV 5 and numpy below 2.2, and loads a dataset as objects whose
  pixels, overlaps and borders would still be handled here.
- supervision 0.31 (MIT, 4 MB, 22 packages) reads COCO, YOLO and VOC's boxes as one dense mask for
  each object, and refuses neither unknown categories nor masks of another size.

So JSON, XML and text files are read with Python's own modules, and PNG files with this project's
reader. The files that these libraries write are tested.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tools.import_labels import coco, colors, cvat, labelme, yolo
from tools.import_labels.drawing import LAST, SMALLEST
from tools.import_labels.shapes import Annotations


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        read: (source, masks, table) -> annotations.
        overlap: which shape counts where several cover a pixel, without `--overlap`.
        images: source -> folder of the images without `--images`; None if it must be named.
        help: what SOURCE is.
    """

    read: Callable[[Path, Path | None, Path | None], Annotations]
    overlap: str
    images: Callable[[Path], Path | None]
    help: str


def _beside(source: Path) -> Path:
    return source if source.is_dir() else source.parent


FORMATS = {
    "coco": Format(lambda source, masks, table: coco.read(source, masks), SMALLEST, _beside,
                   "JSON file of instances, or of panoptic segments"),
    "labelme": Format(lambda source, masks, table: labelme.read(source), LAST, _beside,
                      "folder of JSON files"),
    "cvat": Format(lambda source, masks, table: cvat.read(source), LAST, _beside,
                   "annotations.xml of \"CVAT for images 1.1\""),
    "cvat_masks": Format(lambda source, masks, table: colors.read_voc(source, table), LAST,
                         lambda source: source / "JPEGImages",
                         "folder of \"Segmentation mask 1.1\", with labelmap.txt"),
    "yolo": Format(lambda source, masks, table: yolo.read(source), SMALLEST, _beside,
                   "data.yaml of polygons"),
    "voc": Format(lambda source, masks, table: colors.read_voc(source, table), LAST,
                  lambda source: source / "JPEGImages", "folder that holds SegmentationClass/"),
    "color": Format(lambda source, masks, table: colors.read_colors(source, table), LAST,
                    lambda source: None, "folder of PNG files in the colors of --table"),
}
