"""The Cityscapes table is the official one."""

import pytest

import datasets
from datasets.spec import UNKNOWN
from datasets.tables.cityscapes import CITYSCAPES
from utils import IGNORE_LABEL

official = pytest.importorskip(
    "cityscapesscripts.helpers.labels", reason="pip install .[test] brings it"
).labels
scored = sorted(
    (label for label in official if not label.ignoreInEval), key=lambda label: label.trainId
)


def test_classes_are_the_official_ones_in_train_id_order() -> None:
    assert [
        (label.name, label.rgb, label.raw_ids, label.category) for label in CITYSCAPES.classes
    ] == [(label.name, label.color, (label.id,), label.category) for label in scored]
    assert [label.trainId for label in scored] == list(range(19))


@pytest.mark.parametrize("label", official, ids=lambda label: label.name)
def test_every_official_id_maps_to_its_train_id(label: tuple) -> None:
    raw_id = label.id % 256  # license plate, -1, is 255 in an 8-bit file
    assert CITYSCAPES.lookup[raw_id] == (IGNORE_LABEL if label.ignoreInEval else label.trainId)


def test_ids_that_are_not_official_are_unknown() -> None:
    assert set(CITYSCAPES.lookup[34:255].tolist()) == {UNKNOWN}


def test_ignored_pixels_are_written_as_unlabeled() -> None:
    assert CITYSCAPES.to_raw_ids[IGNORE_LABEL] == 0


@pytest.mark.parametrize(
    ("split", "mode", "expected"),
    [
        ("val", "fine", "val"),
        ("val", "coarse", "val_coarse"),
        ("train", "coarse", "train_coarse"),
        ("train_extra", "coarse", "train_extra"),
    ],
)
def test_a_mode_chooses_the_annotations(split: str, mode: str, expected: str) -> None:
    assert datasets.split_name(CITYSCAPES, split, annotations=mode) == expected


def test_coarse_annotations_that_do_not_exist_are_refused() -> None:
    with pytest.raises(
        datasets.DatasetError, match="has no coarse annotations of test: leave --mode out"
    ):
        datasets.split_name(CITYSCAPES, "test", annotations="coarse")
