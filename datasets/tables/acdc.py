"""ACDC, streets in adverse conditions (Sakaridis et al., ICCV 2021, arXiv 2104.13395).

Its classes are the 19 of Cityscapes.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Layout
from datasets.spec import DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

CONDITIONS = ("fog", "night", "rain", "snow")


def of_all(split: str) -> tuple[str, ...]:
    """Returns the folders of a split, one for each condition."""
    return tuple(f"{condition}/{split}" for condition in CONDITIONS)


ACDC = DatasetSpec(
    name="acdc",
    title="ACDC",
    # the label files hold train ids
    classes=tuple(replace(info, raw_ids=None) for info in CITYSCAPES.classes),
    layouts=(Layout("rgb_anon/{split}/*/*_rgb_anon{suffix}",
                    "gt/{split}/*/*_gt_labelTrainIds.png"),),
    splits={
        "train": of_all("train"),
        "val": of_all("val"),
        "test": of_all("test"),
        "trainval": of_all("train") + of_all("val"),
        **{f"{split}_{condition}": (f"{condition}/{split}",)
           for condition in CONDITIONS for split in ("train", "val", "test")},
    },
    unlabeled=("test", *(f"test_{condition}" for condition in CONDITIONS)),
    hint="the folder that holds rgb_anon/ and gt/",
    # the drive
    group="([^/]+)/[^/]+$",
)
