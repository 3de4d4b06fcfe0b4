from __future__ import annotations

from collections import Counter
from pathlib import Path

from datasets.spec import ClassInfo
from tools.import_labels.drawing import LAST, SMALLEST, Tally
from tools.import_labels.shapes import Annotations
from tools.import_labels.summary import describe

CLASSES = [ClassInfo("road", (1, 1, 1)), ClassInfo("car", (2, 2, 2)), ClassInfo("bus", (3, 3, 3))]


def test_everything_that_was_not_plain_is_said() -> None:
    tally = Tally(Counter({0: 50, 1: 20, 255: 5}), Counter({(1, 0): 1200, (255, 1): 4}), 2,
                  Counter({"dog": 3}), 2, 1, 4, unlabeled=25)
    annotations = Annotations(left_out={"lines 'lane'": 2}, images_left_out={"images x": 1})
    text = describe(Path("a b/dataset.yaml"), CLASSES, ["train", "train", "val"], tally,
                    annotations, SMALLEST, None)
    assert text.splitlines() == [
        "a b/dataset.yaml: 3 images (2 train, 1 val), 3 classes",
        "labeled by shapes: 75.0% of the pixels; the rest is ignored (--background NAME makes it "
        "a class)",
        "two classes on one pixel: 1,204 pixels in 2 images; the smaller shape counts: car over "
        "road 1,200, ignored over car 4",
        "no class, ignored areas: 3 shapes 'dog'",
        "outside of the image: 2 shapes partly, which are cut off, and 1 wholly",
        "too thin to cover the center of a pixel: 4 shapes",
        "without an area, left out: 2 lines 'lane'",
        "images left out: 1 images x",
        "classes without a pixel: bus",
        "look at it: python -m tools.check_dataset --dataset 'a b/dataset.yaml' --sheet sheet.png",
        "train on it: python train.py --dataset 'a b/dataset.yaml' --exp NAME"]


def test_nothing_is_said_of_what_did_not_happen() -> None:
    tally = Tally(Counter({0: 1, 1: 1, 2: 1}))
    lines = describe(Path("d.yaml"), CLASSES, ["train"], tally, Annotations(), LAST,
                     "road").splitlines()
    assert lines[1] == "labeled by shapes: 100.0% of the pixels; the rest is road"
    assert len(lines) == 4 and lines[3].endswith("--val_split none")
