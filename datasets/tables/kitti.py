"""KITTI for semantic segmentation (Alhaija et al., IJCV 2018): 200 frames, ids of Cityscapes."""
from __future__ import annotations

from datasets.layout import Indices, Layout, Subset
from datasets.spec import DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

# There is no official validation split. These images, by their position among the 200, are held out
# in each of three splits.
HELD_OUT = (
    (1, 5, 11, 29, 35, 49, 57, 68, 72, 82, 93, 115, 119, 130, 145, 154, 156, 167, 169, 189, 198),
    (0, 12, 24, 31, 42, 50, 63, 71, 84, 96, 101, 112, 121, 133, 141, 155, 164, 171, 187, 191, 197),
    (3, 6, 13, 21, 41, 54, 61, 73, 88, 91, 110, 121, 126, 131, 142, 149, 150, 163, 173, 183, 199),
)
LAYOUT = Layout("{split}/image_2/*{suffix}", "{split}/semantic/*.png")
LAYOUT_OF_TESTING = Layout("testing/image_2/*{suffix}", "testing/semantic/*.png")


def fold(number: int, held_out: bool) -> tuple[Subset]:
    """Returns the held-out images of a cross-validation split, or all its others."""
    return (Subset(("training",), Indices(HELD_OUT[number], exclude=not held_out)),)


KITTI = DatasetSpec(
    name="kitti",
    title="KITTI",
    classes=CITYSCAPES.classes,
    layouts=(LAYOUT,),
    splits={
        "train": fold(0, held_out=False),
        "val": fold(0, held_out=True),
        # called testing in some copies
        "test": (Subset(("test",), layouts=(LAYOUT, LAYOUT_OF_TESTING)),),
        "trainval": ("training",),
        "train_cv1": fold(1, held_out=False),
        "val_cv1": fold(1, held_out=True),
        "train_cv2": fold(2, held_out=False),
        "val_cv2": fold(2, held_out=True),
    },
    unlabeled=("test",),
    ignored_raw_ids=CITYSCAPES.ignored_raw_ids,
    hint="the folder that holds training/ and test/",
    crop_size=(368, 1232),
)
