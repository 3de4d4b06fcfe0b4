from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from tools.export_labels.formats import FORMATS, Prediction
from tools.import_labels import __main__ as import_labels


def scene(rng: np.random.Generator) -> np.ndarray:
    """A label map of large and small blobs of CamVid's first four classes."""
    noise = cv2.resize(rng.random((4, 6, 4)), (180, 120), interpolation=cv2.INTER_CUBIC)
    return noise.argmax(-1).astype(np.uint8)


@pytest.mark.parametrize("name", FORMATS)
def test_corrected_predictions_are_imported_as_they_were_written(name: str,
                                                                 tmp_path: Path) -> None:
    if name == "coco":
        pytest.importorskip("pycocotools", reason="the extra `labels` brings it")
    rng, spec = np.random.default_rng(0), datasets.spec("camvid")
    labels = {"a": scene(rng), "b": scene(rng)}
    (tmp_path / "images").mkdir()
    for stem in labels:
        cv2.imwrite(str(tmp_path / f"images/{stem}.png"), np.zeros((120, 180, 3), np.uint8))
    (tmp_path / "tool").mkdir()
    predictions = [Prediction(stem, tmp_path / f"images/{stem}.png", label)
                   for stem, label in labels.items()]
    FORMATS[name].write(predictions, spec, tmp_path / "tool", 1)
    source = tmp_path / "tool"
    assert import_labels.main([name, str(source), "--images", str(tmp_path / "images"), "--out",
                               str(tmp_path / "out"), "--split", "train"]) == 0
    data = datasets.build(str(tmp_path / "out/dataset.yaml"), None, "train")
    for index, label in enumerate(labels.values()):
        read = np.array([spec.names.index(other) for other in data.spec.names] + [255])
        again = read[np.minimum(data[index]["label"].numpy(), data.spec.num_classes)]
        for train_id in np.unique(label):
            union = ((again == train_id) | (label == train_id)).sum()
            iou = ((again == train_id) & (label == train_id)).sum() / union
            assert iou == 1 if name == "coco" else iou >= 0.97


def test_labelme_finds_its_image_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    label = np.zeros((8, 9), np.uint8)
    FORMATS["labelme"].write([Prediction("a", tmp_path / "images/a.jpg", label)],
                             datasets.spec("camvid"), tmp_path / "tool", 1)
    content = json.loads((tmp_path / "tool/a.json").read_text())
    assert content["imagePath"] == "../images/a.jpg"
    assert (content["imageHeight"], content["imageWidth"]) == (8, 9)
    (shape,) = content["shapes"]
    assert (shape["label"], shape["shape_type"], len(shape["points"])) == ("Sky", "polygon", 4)
