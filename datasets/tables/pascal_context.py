"""PASCAL Context (Mottaghi et al., CVPR 2014): its 59 frequent classes, also with background.

In the label files of the usual conversion, 0 is background and 1 to 59 are the classes in
alphabetical order. The dataset defines no colors; these are those of the PASCAL VOC development
kit.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Layout, Listed, Subset
from datasets.spec import ClassInfo, DatasetSpec

NAMES = (
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle",
    "building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow",
    "cup", "curtain", "dog", "door", "fence", "floor", "flower", "food", "grass", "ground",
    "horse", "keyboard", "light", "motorbike", "mountain", "mouse", "person", "plate", "platform",
    "pottedplant", "road", "rock", "sheep", "shelves", "sidewalk", "sign", "sky", "snow", "sofa",
    "table", "track", "train", "tree", "truck", "tvmonitor", "wall", "water", "window", "wood",
)


def voc_color(index: int) -> tuple[int, int, int]:
    """Returns color number `index` of PASCAL VOC.

    Bits 3k, 3k + 1 and 3k + 2 of the index are bit 7 - k of red, green and blue.
    """
    red = green = blue = 0
    for k in range(8):
        red |= (index >> 3 * k & 1) << 7 - k
        green |= (index >> 3 * k + 1 & 1) << 7 - k
        blue |= (index >> 3 * k + 2 & 1) << 7 - k
    return red, green, blue


def listed(split: str) -> Subset:
    """Returns the images of the split's list file."""
    return Subset(("",), Listed((f"ImageSets/SegmentationContext/{split}.txt",
                                 f"VOC2010/ImageSets/SegmentationContext/{split}.txt")))


PASCAL_CONTEXT = DatasetSpec(
    name="pascal_context",
    title="PASCAL Context (59 classes)",
    classes=tuple(ClassInfo(name, voc_color(raw_id), raw_ids=(raw_id,))
                  for raw_id, name in enumerate(NAMES, start=1)),
    layouts=(Layout("JPEGImages/*{suffix}", "SegmentationClassContext/*.png"),
             Layout("VOC2010/JPEGImages/*{suffix}", "VOC2010/SegmentationClassContext/*.png")),
    splits={
        "train": (listed("train"),),
        "val": (listed("val"),),
        "trainval": (listed("train"), listed("val")),
    },
    ignored_raw_ids=(0, 255),
    hint="the folder that holds JPEGImages/, SegmentationClassContext/ and ImageSets/ (VOC2010)",
    crop_size=(480, 480),
)

PASCAL_CONTEXT_60 = replace(
    PASCAL_CONTEXT,
    name="pascal_context60",
    title="PASCAL Context (60 classes)",
    classes=(ClassInfo("background", (0, 0, 0), raw_ids=(0,)), *PASCAL_CONTEXT.classes),
    ignored_raw_ids=(255,),
)
