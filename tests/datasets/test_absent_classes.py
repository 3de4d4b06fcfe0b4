"""Classes that no pixel has, where ignored pixels look like them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import datasets
from datasets.absent_classes import describe_absent, inspect_labels
from datasets.yaml_spec import from_description

TWO = [{"name": "background", "rgb": [0, 0, 0]}, {"name": "crack", "rgb": [255, 255, 255]}]


def spec(classes: list[dict], **keys: object) -> datasets.DatasetSpec:
    content = {"name": "own", "images": "{split}/*.png", "labels": "{split}annot/*.png",
               "classes": classes, **keys}
    return from_description(content, "own.yaml")


def mended(message: str, described: datasets.DatasetSpec) -> datasets.DatasetSpec:
    """Returns the spec with the lines of the message in place of the classes that they name."""
    text = message.split("own.yaml:\n")[1].split("\nIf they are to be ignored")[0]
    lines = [line for line in text.splitlines() if line.startswith("  - ")]
    others = yaml.safe_load("\n".join(text.splitlines()[len(lines):])) or {}
    new = {entry["name"]: entry for entry in yaml.safe_load("\n".join(lines))}
    classes = [new.get(entry["name"], entry) for entry in described.description["classes"]]
    return from_description({**described.description, "classes": classes, **others}, "own.yaml")


def test_a_mask_of_0_and_255_with_two_classes_is_named_with_two_lines_that_mend_it() -> None:
    message = describe_absent(spec(TWO), {0: 75, 255: 25})
    assert "no pixel belongs to crack, but 25 pixels (25.00 %) hold 255" in message
    assert "is ignored by default" in message
    assert ("\n  - {name: background, rgb: [0, 0, 0], id: 0}"
            "\n  - {name: crack, rgb: [255, 255, 255], id: 255}\n") in message
    assert "ignored_ids: [255]" in message
    again = mended(message, spec(TWO))
    assert again.raw_to_train == {0: 0, 255: 1}
    assert describe_absent(again, {0: 75, 255: 25}) == ""


@pytest.mark.parametrize(("classes", "keys", "pixels", "mapped"), [
    # the ids were ignored after the error for unmapped ids
    ([*TWO, {"name": "joint", "rgb": [9, 9, 9]}], {"ignored_ids": [255, 127]},
     {0: 9, 127: 1, 255: 2}, {0: 0, 127: 1, 255: 2}),
    # a third class that was saved as 255
    ([*TWO, {"name": "joint", "rgb": [9, 9, 9]}], {}, {0: 9, 1: 4, 255: 2}, {0: 0, 1: 1, 255: 2}),
    # ids that are stated, but that the files do not have
    ([{**TWO[0], "id": 0}, {**TWO[1], "id": 1}], {"ignored_ids": [255]}, {0: 9, 255: 2},
     {0: 0, 255: 1}),
    # background is ignored, and the foreground is not 1
    ([{**TWO[0], "id": 2}, {**TWO[1], "id": 1}], {"ignored_ids": [0]}, {0: 9, 1: 2},
     {0: 0, 1: 1}),
])
def test_the_lines_of_the_message_mend_other_datasets_too(
        classes: list[dict], keys: dict, pixels: dict[int, int], mapped: dict[int, int]) -> None:
    described = spec(classes, **keys)
    again = mended(describe_absent(described, pixels), described)
    assert again.raw_to_train == mapped
    assert describe_absent(again, pixels) == ""


def test_colors_are_mended_by_label_rgbs() -> None:
    described = spec(TWO, label_format="rgb", ignored_rgbs=[[255, 0, 0]])
    message = describe_absent(described, {0: 9, 0xFF0000: 2})
    assert "label_rgbs: [[255, 0, 0]]" in message
    assert mended(message, described).raw_to_train == {0: 0, 0xFF0000: 1}


@pytest.mark.parametrize(("classes", "keys", "pixels"), [
    # nothing is absent
    (TWO, {}, {0: 5, 1: 2, 255: 3}),
    # nothing is ignored
    (TWO, {}, {0: 5}),
    # a rare class of several, with ids that are stated
    ([{**TWO[0], "id": 0}, {**TWO[1], "id": 1}, {"name": "a", "rgb": [1, 1, 1], "id": 2}], {},
     {0: 5, 1: 2, 255: 3}),
    ([*TWO, {"name": "a", "rgb": [1, 1, 1]}], {"ignored_ids": [255]}, {0: 5, 1: 2, 255: 3}),
])
def test_datasets_without_this_fault_are_left_alone(classes: list[dict], keys: dict,
                                                    pixels: dict[int, int]) -> None:
    assert describe_absent(spec(classes, **keys), pixels) == ""


def test_datasets_of_a_table_are_left_alone() -> None:
    assert describe_absent(datasets.spec("camvid"), {0: 5, 255: 3}) == ""


def test_a_class_may_be_absent_from_a_sample() -> None:
    described = spec([*TWO, {"name": "a", "rgb": [1, 1, 1]}])
    assert describe_absent(described, {0: 5, 1: 2, 255: 3}, complete=False) == ""
    assert describe_absent(described, {0: 5, 255: 3}, complete=False) != ""


def test_an_inspection_warns_of_some_of_the_label_files(tmp_path: Path) -> None:
    described = spec(TWO)
    for number in range(30):
        for folder, pixels in (("train", np.zeros((4, 4, 3), np.uint8)),
                               ("trainannot", np.array([[0, 255]] * 2, np.uint8))):
            (tmp_path / folder).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / folder / f"{number:02}.png"), pixels)
    (tmp_path / "trainannot/00.png").write_bytes(b"")
    data = datasets.build(described, tmp_path, "train")
    warning, = inspect_labels(data.samples)
    assert warning.startswith("in 24 of 30 label files, no pixel belongs to crack")
    assert inspect_labels([sample._replace(label=None) for sample in data.samples]) == []


def test_an_inspection_judges_each_dataset_by_its_own_ids(tmp_path: Path) -> None:
    """255 is ignored in the first dataset and a class of the second."""
    samples = []
    for name, keys in (("a", {}), ("b", {"ignored_ids": []})):
        classes = [{**TWO[0], "id": 0}, {**TWO[1], "id": 255 if name == "b" else 1}]
        for folder in ("train", "trainannot"):
            (tmp_path / name / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / "train/0.png"), np.zeros((4, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / name / "trainannot/0.png"),
                    np.array([[0, 255]] * 2, np.uint8))
        described = spec(classes, splits={"train": "train"}, **keys)
        samples += datasets.build(described, tmp_path / name, "train").samples
    warning, = inspect_labels(samples)
    assert warning.startswith("in 1 of 1 label files, no pixel belongs to crack")
    assert inspect_labels(samples[1:]) == []
