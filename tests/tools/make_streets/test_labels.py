"""The label ids are those of Cityscapes."""

from __future__ import annotations

import pytest

from datasets.tables.cityscapes import CITYSCAPES
from tools.make_streets import labels

UNTRAINED = {"EGO_VEHICLE": 1, "STATIC": 4, "RAIL_TRACK": 10}


@pytest.mark.parametrize("train_id", range(19))
def test_every_class_of_cityscapes_has_its_label_id(train_id: int) -> None:
    name = CITYSCAPES.names[train_id].upper().replace(" ", "_")
    assert (getattr(labels, name),) == CITYSCAPES.raw_ids(train_id)


def test_the_other_ids_are_ignored() -> None:
    assert {name: getattr(labels, name) for name in UNTRAINED} == UNTRAINED
    assert set(UNTRAINED.values()) <= set(CITYSCAPES.ignored_raw_ids)
