"""KITTI for semantic segmentation (Alhaija et al., IJCV 2018): 200 frames with the ids of Cityscapes."""
from __future__ import annotations

from datasets.layout import Indices, Layout, Subset
from datasets.spec import DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

# There is no official validation split: these are the images held out in each of three, by their place among the 200.
HELD_OUT = (
    (1, 5, 11, 29, 35, 49, 57, 68, 72, 82, 93, 115, 119, 130, 145, 154, 156, 167, 169, 189, 198),
    (0, 12, 24, 31, 42, 50, 63, 71, 84, 96, 101, 112, 121, 133, 141, 155, 164, 171, 187, 191, 197),
    (3, 6, 13, 21, 41, 54, 61, 73, 88, 91, 110, 121, 126, 131, 142, 149, 150, 163, 173, 183, 199),
)


def fold(number: int, held_out: bool) -> tuple[Subset]:
    return (Subset(("training",), Indices(HELD_OUT[number], but=not held_out)),)


KITTI = DatasetSpec(
    name="kitti",
    title="KITTI",
    classes=CITYSCAPES.classes,
    # The second is for test alone, which some call testing.
    layouts=(Layout("{split}/image_2/*{suffix}", "{split}/semantic/*.png"),
             Layout("{split}ing/image_2/*{suffix}", "{split}ing/semantic/*.png")),
    splits={"train": fold(0, False), "val": fold(0, True), "test": ("test",), "trainval": ("training",),
            **{f"{split}_cv{number}": fold(number, split == "val")
               for number in range(1, len(HELD_OUT)) for split in ("train", "val")}},
    unlabelled=("test",),
    ignored_raw_ids=CITYSCAPES.ignored_raw_ids,
    hint="the folder that holds training/ and test/",
    crop_size=(368, 1232),
)
