"""IDD-lite, the small edition of the India Driving Dataset (Mishra et al., NCVPRIPG 2019).

Seven classes, level 1 of IDD's hierarchy, on images of 227x320 pixels.
"""
from __future__ import annotations

from datasets.layout import GroupFold, Layout, Subset
from datasets.spec import ClassInfo, DatasetSpec

FOLDS = 3


def fold(number: int, held_out: bool) -> tuple[Subset, ...]:
    """Returns the train or, if `held_out`, the val split of a fold, of the drives of train."""
    return (Subset(("train",), GroupFold(number - 1, FOLDS, held_out)),)


IDD_LITE = DatasetSpec(
    name="idd_lite",
    title="IDD-lite (7 classes)",
    classes=(
        ClassInfo("drivable", rgb=(128, 64, 128)),
        ClassInfo("non-drivable", rgb=(244, 35, 232)),
        ClassInfo("living things", rgb=(220, 20, 60)),
        ClassInfo("vehicles", rgb=(0, 0, 142)),
        ClassInfo("roadside objects", rgb=(220, 220, 0)),
        ClassInfo("far objects", rgb=(107, 142, 35)),
        ClassInfo("sky", rgb=(70, 130, 180)),
    ),
    layouts=(Layout("leftImg8bit/{split}/*/*_image{suffix}", "gtFine/{split}/*/*_label.png"),),
    splits={
        "train": ("train",),
        "val": ("val",),
        "test": ("test",),
        "trainval": ("train", "val"),
        **{f"train_cv{k}": fold(k, held_out=False) for k in range(1, FOLDS + 1)},
        **{f"val_cv{k}": fold(k, held_out=True) for k in range(1, FOLDS + 1)},
    },
    unlabeled=("test",),
    hint="the folder that holds leftImg8bit/ and gtFine/",
    # the drive
    group="^leftImg8bit/[^/]+/([^/]+)/",
    crop_size=(227, 320),
)
