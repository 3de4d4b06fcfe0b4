"""BDD100K for semantic segmentation (Yu et al., CVPR 2020, arXiv 1805.04687).

Its classes are the 19 of Cityscapes.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Layout
from datasets.spec import DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

BDD100K = DatasetSpec(
    name="bdd100k",
    title="BDD100K",
    # the label files hold train ids
    classes=tuple(replace(info, raw_ids=None) for info in CITYSCAPES.classes),
    layouts=(Layout("images/{split}/*{suffix}", "labels/{split}/*_train_id.png"),
             Layout("images/10k/{split}/*{suffix}", "labels/sem_seg/masks/{split}/*.png")),
    splits={"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")},
    unlabeled=("test",),
    hint="the folder that holds images/ and labels/",
    crop_size=(720, 720),
)
