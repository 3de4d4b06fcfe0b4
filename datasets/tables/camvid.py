"""CamVid (Brostow et al., Pattern Recognition Letters 2009).

11 classes and splits of SegNet (arXiv 1511.00561). `camvid` reads SegNet's files, `camvid_full` the
original frames of 720x960 pixels, with labels in 32 colors.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.layout import Frames, Layout, Subset, Videos
from datasets.spec import ClassInfo, DatasetSpec, rgb_to_int

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
    # SegNet's files hold 11 for void, other copies 255
    ignored_raw_ids=(11, 255),
    hint="the folder that holds train/, trainannot/, val/, valannot/, test/ and testannot/",
    # the video, of which there are few: blocks of it take the place of whole videos
    group="([^/]+)_[^/_]*$",
    block=20,
    crop_size=(360, 480),
)

# The 32 original classes: color in the label files, and the class of SegNet's 11 that it becomes.
# Of several colors of a class, label files are written in the first.
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
    """Returns the colors of one of the 11 classes; those of ignored pixels for None."""
    return tuple(rgb_to_int(rgb) for rgb, segnet_name in ORIGINAL.values() if segnet_name == name)


# SegNet's split, by the videos of its 701 images, which the file names contain.
VAL_FRAMES = Frames("0016E5", 7959, 8159)
FULL_SPLITS = {
    "train": Videos((Frames("0001TP", last=8520), Frames("0006R0"), Frames("0016E5")),
                    exclude=(VAL_FRAMES,)),
    "val": Videos((VAL_FRAMES,)),
    "test": Videos((Frames("0001TP", first=8550), Frames("Seq05VD"))),
}

CAMVID_FULL = replace(
    CAMVID,
    name="camvid_full",
    title="CamVid (original, 32 colors to 11 classes)",
    classes=tuple(replace(info, raw_ids=colors(info.name)) for info in CAMVID.classes),
    colors=True,
    ignored_raw_ids=colors(None),
    layouts=(Layout("701_StillsRaw_full/*{suffix}", "LabeledApproved_full/*_L.png"),),
    splits={
        "train": (Subset(("",), FULL_SPLITS["train"]),),
        "val": (Subset(("",), FULL_SPLITS["val"]),),
        "test": (Subset(("",), FULL_SPLITS["test"]),),
        "trainval": (Subset(("",), FULL_SPLITS["train"]), Subset(("",), FULL_SPLITS["val"])),
    },
    hint="the folder that holds 701_StillsRaw_full/ and LabeledApproved_full/",
    crop_size=(720, 960),
)
