"""CamVid (Brostow et al., Pattern Recognition Letters 2009), 11 classes and split of SegNet (arXiv 1511.00561).

`camvid` are SegNet's files, `camvid_full` the original frames of 720x960 with labels in 32 colors.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Frames, Layout, Subset, Videos
from datasets.spec import ClassInfo, DatasetSpec, pack

CAMVID = DatasetSpec(
    name="camvid",
    title="CamVid (SegNet, 11 classes)",
    classes=(
        ClassInfo("Sky", rgb=(128, 128, 128), category="sky"),
        ClassInfo("Building", rgb=(128, 0, 0), category="construction"),
        ClassInfo("Pole", rgb=(192, 192, 128), category="object"),
        ClassInfo("Road", rgb=(128, 64, 128), category="flat"),
        ClassInfo("Pavement", rgb=(60, 40, 222), category="flat"),
        ClassInfo("Tree", rgb=(128, 128, 0), category="nature"),
        ClassInfo("SignSymbol", rgb=(192, 128, 128), category="object"),
        ClassInfo("Fence", rgb=(64, 64, 128), category="construction"),
        ClassInfo("Car", rgb=(64, 0, 128), category="vehicle"),
        ClassInfo("Pedestrian", rgb=(64, 64, 0), category="human"),
        ClassInfo("Bicyclist", rgb=(0, 128, 192), category="human"),
    ),
    layouts=(Layout(images="{split}/*{suffix}", labels="{split}annot/*.png"),),
    splits={"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")},
    ignored_raw_ids=(11, 255),                              # the SegNet files write void as 11, other copies as 255
    hint="the folder that holds train/, trainannot/, val/, valannot/, test/ and testannot/",
    crop_size=(360, 480),
)

# The 32 original classes: their color in the label files, and the one of the 11 that SegNet's files make of them.
# A class is written in the first of its colors.
ORIGINAL: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "Sky": ((128, 128, 128), "Sky"),
    "Building": ((128, 0, 0), "Building"),
    "Wall": ((64, 192, 0), "Building"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Road": ((128, 64, 128), "Road"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "RoadShoulder": ((128, 128, 192), "Road"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "Tree": ((128, 128, 0), "Tree"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Fence": ((64, 64, 128), "Fence"),
    "Car": ((64, 0, 128), "Car"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "Void": ((0, 0, 0), None),
    "Animal": ((64, 128, 64), None),
    "Archway": ((192, 0, 128), None),
    "Bridge": ((0, 128, 64), None),
    "CartLuggagePram": ((64, 0, 192), None),
    "Child": ((192, 128, 64), None),
    "OtherMoving": ((128, 64, 64), None),
    "TrafficCone": ((0, 0, 64), None),
    "Train": ((192, 64, 128), None),
    "Tunnel": ((64, 0, 64), None),
}


def colors(name: str | None) -> tuple[int, ...]:
    """Returns the colors that are read as one of the 11 classes, or those that are ignored."""
    return tuple(pack(rgb) for rgb, becomes in ORIGINAL.values() if becomes == name)


# SegNet's split, by the videos that the files of its 701 images are named after.
VAL_FRAMES = Frames("0016E5", 7959, 8159)
FULL_SPLITS = {
    "train": Videos((Frames("0001TP", last=8520), Frames("0006R0"), Frames("0016E5")), but=(VAL_FRAMES,)),
    "val": Videos((VAL_FRAMES,)),
    "test": Videos((Frames("0001TP", first=8550), Frames("Seq05VD"))),
}

CAMVID_FULL = replace(
    CAMVID,
    name="camvid_full",
    title="CamVid (original, 32 colors to 11 classes)",
    classes=tuple(replace(label, raw_ids=colors(label.name)) for label in CAMVID.classes),
    colors=True,
    ignored_raw_ids=colors(None),
    layouts=(Layout("701_StillsRaw_full/*{suffix}", "LabeledApproved_full/*_L.png"),),
    splits={split: tuple(Subset(("",), FULL_SPLITS[part]) for part in parts)
            for split, parts in (("train", ("train",)), ("val", ("val",)), ("test", ("test",)),
                                 ("trainval", ("train", "val")))},
    hint="the folder that holds 701_StillsRaw_full/ and LabeledApproved_full/",
    crop_size=(720, 960),
)
