"""Cityscapes (Cordts et al., CVPR 2016, arXiv 1604.01685), fine and coarse annotations."""
from __future__ import annotations

from datasets.layout import Fold, Layout, Subset
from datasets.spec import ClassInfo, DatasetSpec

LAYOUTS = (
    Layout(images="leftImg8bit/{split}/*/*_leftImg8bit{suffix}",
           labels="gtFine/{split}/*/*_gtFine_labelIds.png"),
    Layout(images="leftImg8bit_trainvaltest/leftImg8bit/{split}/*/*_leftImg8bit{suffix}",
           labels="gtFine_trainvaltest/gtFine/{split}/*/*_gtFine_labelIds.png"),
)

COARSE = tuple(
    Layout(images=f"{images}/{{split}}/*/*_leftImg8bit{{suffix}}",
           labels=f"{labels}/{{split}}/*/*_gtCoarse_labelIds.png")
    for images, labels in (
        ("leftImg8bit", "gtCoarse"),
        ("leftImg8bit_trainextra/leftImg8bit", "gtCoarse/gtCoarse"),
        ("leftImg8bit_trainvaltest/leftImg8bit", "gtCoarse/gtCoarse"),
        ("leftImg8bit", "gtCoarse/gtCoarse"),
    )
)



def fold(number: int, held_out: bool) -> tuple[Subset]:
    """Returns the held-out cities of one of three cross-validation splits, or all its others."""
    return (Subset(("val", "train"), Fold(number, folds=3, held_out=held_out)),)


SPLITS: dict[str, tuple[str | Subset, ...]] = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test",),
    "trainval": ("train", "val"),
    "train_cv1": fold(1, held_out=False),
    "val_cv1": fold(1, held_out=True),
    "train_cv2": fold(2, held_out=False),
    "val_cv2": fold(2, held_out=True),
    "train_coarse": (Subset(("train",), layouts=COARSE),),
    "val_coarse": (Subset(("val",), layouts=COARSE),),
    "train_extra": (Subset(("train_extra",), layouts=COARSE),),
}

CITYSCAPES = DatasetSpec(
    name="cityscapes",
    title="Cityscapes",
    classes=(
        ClassInfo("road", rgb=(128, 64, 128), raw_ids=(7,), category="flat"),
        ClassInfo("sidewalk", rgb=(244, 35, 232), raw_ids=(8,), category="flat"),
        ClassInfo("building", rgb=(70, 70, 70), raw_ids=(11,), category="construction"),
        ClassInfo("wall", rgb=(102, 102, 156), raw_ids=(12,), category="construction"),
        ClassInfo("fence", rgb=(190, 153, 153), raw_ids=(13,), category="construction"),
        ClassInfo("pole", rgb=(153, 153, 153), raw_ids=(17,), category="object"),
        ClassInfo("traffic light", rgb=(250, 170, 30), raw_ids=(19,), category="object"),
        ClassInfo("traffic sign", rgb=(220, 220, 0), raw_ids=(20,), category="object"),
        ClassInfo("vegetation", rgb=(107, 142, 35), raw_ids=(21,), category="nature"),
        ClassInfo("terrain", rgb=(152, 251, 152), raw_ids=(22,), category="nature"),
        ClassInfo("sky", rgb=(70, 130, 180), raw_ids=(23,), category="sky"),
        ClassInfo("person", rgb=(220, 20, 60), raw_ids=(24,), category="human"),
        ClassInfo("rider", rgb=(255, 0, 0), raw_ids=(25,), category="human"),
        ClassInfo("car", rgb=(0, 0, 142), raw_ids=(26,), category="vehicle"),
        ClassInfo("truck", rgb=(0, 0, 70), raw_ids=(27,), category="vehicle"),
        ClassInfo("bus", rgb=(0, 60, 100), raw_ids=(28,), category="vehicle"),
        ClassInfo("train", rgb=(0, 80, 100), raw_ids=(31,), category="vehicle"),
        ClassInfo("motorcycle", rgb=(0, 0, 230), raw_ids=(32,), category="vehicle"),
        ClassInfo("bicycle", rgb=(119, 11, 32), raw_ids=(33,), category="vehicle"),
    ),
    layouts=LAYOUTS,
    splits=SPLITS,
    coarse_split="train_extra",
    unlabeled=("test",),
    # 255 is the official -1 (license plate) as an 8-bit file writes it.
    ignored_raw_ids=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255),
    hint="the folder that holds leftImg8bit/ and gtFine/",
)
