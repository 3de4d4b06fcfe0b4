"""India Driving Dataset (Varma et al., WACV 2019, arXiv 1811.10200).

`idd` has the 19 classes of Cityscapes, `idd26` the dataset's own 26. Ids, level-3 ids and colors
are those of the dataset's public code (`anue_labels`).
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Layout
from datasets.spec import ClassInfo, DatasetSpec
from datasets.tables.cityscapes import CITYSCAPES

IMAGES = "leftImg8bit/{split}/*/*_leftImg8bit{suffix}"
BARE_IMAGES = "leftImg8bit/{split}/*/*{suffix}"
LABELS = "gtFine/{split}/*/*_gtFine_"

# Class of Cityscapes -> id in IDD's label files; terrain is IDD's non-drivable fallback.
CITYSCAPES_TO_IDD = {
    "road": 0,
    "sidewalk": 3,
    "building": 29,
    "wall": 20,
    "fence": 21,
    "pole": 26,
    "traffic light": 25,
    "traffic sign": 24,
    "vegetation": 32,
    "terrain": 5,
    "sky": 33,
    "person": 6,
    "rider": 8,
    "car": 12,
    "truck": 13,
    "bus": 14,
    "train": 17,
    "motorcycle": 9,
    "bicycle": 10,
}
# 35 to 39 are void
IDS = range(40)


def layouts(*endings: tuple[str, bool]) -> tuple[Layout, ...]:
    """Returns the layouts for label files of these endings, in order of preference.

    Args:
        endings: pairs of (ending, whether the files hold train ids).
    """
    return tuple(
        Layout(images, f"{LABELS}{ending}.png", train_ids)
        for ending, train_ids in endings
        for images in (IMAGES, BARE_IMAGES)
    )


IDD = DatasetSpec(
    name="idd",
    title="IDD (19 classes of Cityscapes)",
    classes=tuple(replace(info, raw_ids=(CITYSCAPES_TO_IDD[info.name],))
                  for info in CITYSCAPES.classes),
    layouts=layouts(("labelcsTrainIds", True), ("labelids", False)),
    splits={"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")},
    unlabeled=("test",),
    ignored_raw_ids=(*(raw_id for raw_id in IDS if raw_id not in CITYSCAPES_TO_IDD.values()), 255),
    hint="the folder that holds leftImg8bit/ and gtFine/, with label images made by the dataset's "
         "public code",
    # the drive
    group="([^/]+)/[^/]+$",
)

IDD26 = replace(
    IDD,
    name="idd26",
    title="IDD (its own 26 classes)",
    classes=(
        ClassInfo("road", rgb=(128, 64, 128), raw_ids=(0,), category="drivable"),
        # 1 is parking
        ClassInfo("drivable fallback", rgb=(81, 0, 81), raw_ids=(1, 2), category="drivable"),
        ClassInfo("sidewalk", rgb=(244, 35, 232), raw_ids=(3,), category="non-drivable"),
        # 4 is rail track
        ClassInfo("non-drivable fallback", rgb=(152, 251, 152), raw_ids=(4, 5),
                  category="non-drivable"),
        ClassInfo("person/animal", rgb=(220, 20, 60), raw_ids=(6, 7), category="living-thing"),
        ClassInfo("rider", rgb=(255, 0, 0), raw_ids=(8,), category="living-thing"),
        ClassInfo("motorcycle", rgb=(0, 0, 230), raw_ids=(9,), category="2-wheeler"),
        ClassInfo("bicycle", rgb=(119, 11, 32), raw_ids=(10,), category="2-wheeler"),
        ClassInfo("autorickshaw", rgb=(255, 204, 54), raw_ids=(11,), category="autorickshaw"),
        ClassInfo("car", rgb=(0, 0, 142), raw_ids=(12,), category="car"),
        ClassInfo("truck", rgb=(0, 0, 70), raw_ids=(13,), category="large-vehicle"),
        ClassInfo("bus", rgb=(0, 60, 100), raw_ids=(14,), category="large-vehicle"),
        ClassInfo("vehicle fallback", rgb=(136, 143, 153), raw_ids=(15, 16, 17, 18),
                  category="large-vehicle"),
        ClassInfo("curb", rgb=(220, 190, 40), raw_ids=(19,), category="barrier"),
        ClassInfo("wall", rgb=(102, 102, 156), raw_ids=(20,), category="barrier"),
        ClassInfo("fence", rgb=(190, 153, 153), raw_ids=(21,), category="barrier"),
        ClassInfo("guard rail", rgb=(180, 165, 180), raw_ids=(22,), category="barrier"),
        ClassInfo("billboard", rgb=(174, 64, 67), raw_ids=(23,), category="structures"),
        ClassInfo("traffic sign", rgb=(220, 220, 0), raw_ids=(24,), category="structures"),
        ClassInfo("traffic light", rgb=(250, 170, 30), raw_ids=(25,), category="structures"),
        # 27 is pole group
        ClassInfo("pole", rgb=(153, 153, 153), raw_ids=(26, 27), category="structures"),
        ClassInfo("obs-str-bar-fallback", rgb=(169, 187, 214), raw_ids=(28,),
                  category="structures"),
        ClassInfo("building", rgb=(70, 70, 70), raw_ids=(29,), category="construction"),
        ClassInfo("bridge/tunnel", rgb=(150, 100, 100), raw_ids=(30, 31), category="construction"),
        ClassInfo("vegetation", rgb=(107, 142, 35), raw_ids=(32,), category="vegetation"),
        # 34 is fallback background
        ClassInfo("sky", rgb=(70, 130, 180), raw_ids=(33, 34), category="sky"),
    ),
    layouts=layouts(("labelids", False), ("labellevel3Ids", True)),
    ignored_raw_ids=(35, 36, 37, 38, 39, 255),
)
