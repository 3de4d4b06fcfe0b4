"""IDD-lite as it is published: 1403 train, 204 val and 404 test images, folds by drive."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.spec import split_name
from datasets.tables.idd_lite import FOLDS


@pytest.fixture(scope="module")
def root(idd_lite_root: Path) -> Path:
    return idd_lite_root


def drives(data: datasets.SegmentationDataset) -> set[str]:
    return {sample.image.parent.name for sample in data.samples}


@pytest.mark.parametrize(("split", "count"), [("train", 1403), ("val", 204), ("test", 404)])
def test_a_split_has_its_images(root: Path, split: str, count: int) -> None:
    data = datasets.build("idd_lite", root, split)
    assert len(data) == count
    assert data.labeled == (split != "test")
    sample = data[0]
    assert sample["image"].shape == (3, 227, 320)


def test_the_table_is_the_yaml_file_that_comes_with_the_data(root: Path) -> None:
    described, spec = datasets.spec(str(root / "idd_lite.yaml")), datasets.spec("idd_lite")
    assert described.names == spec.names
    assert np.array_equal(described.palette, spec.palette)
    assert described.crop_size == spec.crop_size


def test_folds_divide_the_drives_of_train_and_never_touch_val(root: Path) -> None:
    spec = datasets.spec("idd_lite")
    train, val = (datasets.build(spec, root, split) for split in ("train", "val"))
    held_out: set[str] = set()
    for fold in range(1, FOLDS + 1):
        fold_train = datasets.build(spec, root, split_name(spec, "train", fold=fold))
        fold_val = datasets.build(spec, root, split_name(spec, "val", fold=fold))
        assert len(fold_train) + len(fold_val) == len(train)
        assert not drives(fold_train) & drives(fold_val)
        assert len(drives(fold_val)) == 103
        assert not held_out & drives(fold_val)
        held_out |= drives(fold_val)
    assert held_out == drives(train)
    assert not held_out & drives(val)
