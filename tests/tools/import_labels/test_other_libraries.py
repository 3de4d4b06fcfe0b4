"""Files that other libraries write are read with the pixels that these libraries mean."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.import_labels import coco, cvat, yolo
from tools.import_labels.colors import read_voc
from tools.import_labels.shapes import Annotations, Shape

HEIGHT, WIDTH = 240, 320
NAMES = ["road", "car", "tree"]


def stars() -> list[np.ndarray]:
    """Twelve polygons of 9 corners that do not touch each other."""
    rng = np.random.default_rng(0)
    outlines = []
    for x in (40, 120, 200, 280):
        for y in (40, 120, 200):
            angles = 2 * np.pi * np.arange(9) / 9
            radii = rng.uniform(20, 38, 9)
            outlines.append(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1))
    return outlines


def whole(shape: Shape) -> np.ndarray:
    """The pixels of a shape as a mask of the image."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    window, _ = shape.fill(HEIGHT, WIDTH)
    mask[window.slices] = window.mask
    return mask


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def check(annotations: Annotations, least: float) -> None:
    """Each polygon is read with its class and its pixels."""
    (image,) = annotations.images
    shapes = image.load()
    expected = [Shape("", (outline,)) for outline in stars()]
    assert image.size in (None, (HEIGHT, WIDTH))
    found = [max((iou(whole(star), whole(shape)), -index, shape.name)
                 for index, shape in enumerate(shapes)) for star in expected]
    assert [name for *_, name in found] == [NAMES[i % 3] for i in range(12)]
    assert min(score for score, *_ in found) >= least


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return path


# pycocotools


def test_masks_and_polygons_of_pycocotools(tmp_path: Path) -> None:
    library = pytest.importorskip("pycocotools.coco", reason="the extra `labels` brings it")
    mask_library = pytest.importorskip("pycocotools.mask")
    annotations = []
    for i, outline in enumerate(stars()):
        polygon = [outline.ravel().tolist()]
        encoded = mask_library.merge(mask_library.frPyObjects(polygon, HEIGHT, WIDTH))
        encoded["counts"] = encoded["counts"].decode()
        annotations.append({"id": i + 1, "image_id": 1, "category_id": i % 3 + 1, "iscrowd": 0,
                            "area": 1, "segmentation": encoded if i % 2 else polygon})
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
        "annotations": annotations}))
    check(coco.read(path), 0.97)
    (image,) = coco.read(path).images
    opened = library.COCO(str(path))
    for shape, entry in zip(image.load(), annotations, strict=True):
        assert iou(whole(shape), opened.annToMask(entry) > 0) >= 0.97


# datumaro


def datumaro_dataset(annotation: str) -> Any:
    """An image with the stars, as polygons or masks of datumaro."""
    pytest.importorskip("datumaro", reason="pip install datumaro, which excludes OpenCV 5")
    from datumaro.components.annotation import Mask, Polygon
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image
    objects: list[Any] = []
    for i, outline in enumerate(stars()):
        common = {"label": i % 3, "id": i, "group": i + 1}
        if annotation == "polygon":
            objects.append(Polygon(outline.ravel().tolist(), **common))
        else:
            objects.append(Mask(whole(Shape("", (outline,))), **common))
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    item = DatasetItem(id="a", subset="train", media=Image.from_numpy(data=picture),
                       annotations=objects)
    return Dataset.from_iterable([item], categories=NAMES)


@pytest.mark.parametrize("annotation", ["polygon", "mask"])
def test_coco_of_datumaro(annotation: str, tmp_path: Path) -> None:
    datumaro_dataset(annotation).export(str(tmp_path / "out"), "coco_instances", save_media=True)
    check(coco.read(tmp_path / "out/annotations/instances_train.json"), 0.99)


def test_cvat_of_datumaro(tmp_path: Path) -> None:
    datumaro_dataset("polygon").export(str(tmp_path / "out"), "cvat", save_media=True)
    (path,) = (tmp_path / "out").rglob("*.xml")
    check(cvat.read(path), 0.99)


def test_voc_masks_of_datumaro(tmp_path: Path) -> None:
    datumaro_dataset("mask").export(str(tmp_path / "out"), "voc_segmentation", save_media=True)
    annotations = read_voc(tmp_path / "out")
    (image,) = annotations.images
    assert image.split == "train"
    masks = {shape.name: whole(shape) for shape in image.load()}
    for number, name in enumerate(NAMES):
        expected = [whole(Shape("", (outline,))) for outline in stars()[number::3]]
        assert iou(masks[name], np.logical_or.reduce(expected)) == 1


# supervision


def detections() -> tuple[Any, Any]:
    """Supervision, and the stars as its detections."""
    library = pytest.importorskip("supervision", reason="pip install supervision")
    masks = np.stack([whole(Shape("", (outline,))) for outline in stars()])
    boxes = np.array([[*outline.min(0), *outline.max(0)] for outline in stars()])
    return library, library.Detections(
        xyxy=boxes, mask=masks, class_id=np.arange(12) % 3)


def test_coco_and_yolo_of_supervision(tmp_path: Path) -> None:
    library, found = detections()
    picture = str(write_image(tmp_path / "a.png"))
    dataset = library.DetectionDataset(classes=NAMES, images=[picture],
                                       annotations={picture: found})
    dataset.as_coco(images_directory_path=str(tmp_path / "coco"),
                    annotations_path=str(tmp_path / "coco/a.json"))
    # its polygons run through the centers of the outermost pixels
    check(coco.read(tmp_path / "coco/a.json"), 0.94)
    dataset.as_yolo(images_directory_path=str(tmp_path / "yolo/images/train"),
                    annotations_directory_path=str(tmp_path / "yolo/labels/train"),
                    data_yaml_path=str(tmp_path / "yolo/data.yaml"))
    text = (tmp_path / "yolo/data.yaml").read_text()
    (tmp_path / "yolo/data.yaml").write_text(text + "\ntrain: images/train\n")
    check(yolo.read(tmp_path / "yolo"), 0.94)
