"""streets: scenes drawn by `python -m tools.make_streets`, laid out like Cityscapes."""
from __future__ import annotations

from datasets.spec import DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

STREETS = DatasetSpec(
    name="streets",
    title="streets (procedural scenes)",
    classes=CITYSCAPES.classes,
    layouts=CITYSCAPES.layouts,
    splits={"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)},
    unlabeled=("test",),
    ignored_raw_ids=CITYSCAPES.ignored_raw_ids,
    hint="a folder drawn by `python -m tools.make_streets --out FOLDER`",
    crop_size=(256, 512),
)
