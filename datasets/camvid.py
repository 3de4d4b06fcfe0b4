"""CamVid (Brostow et al., Pattern Recognition Letters 2009), 11 classes and split of SegNet (arXiv 1511.00561)."""
from __future__ import annotations

from datasets.spec import DatasetSpec, Label, Layout

CAMVID = DatasetSpec(
    name="camvid",
    title="CamVid (SegNet, 11 classes)",
    classes=(
        Label("Sky", rgb=(128, 128, 128), category="sky"),
        Label("Building", rgb=(128, 0, 0), category="construction"),
        Label("Pole", rgb=(192, 192, 128), category="object"),
        Label("Road", rgb=(128, 64, 128), category="flat"),
        Label("Pavement", rgb=(60, 40, 222), category="flat"),
        Label("Tree", rgb=(128, 128, 0), category="nature"),
        Label("SignSymbol", rgb=(192, 128, 128), category="object"),
        Label("Fence", rgb=(64, 64, 128), category="construction"),
        Label("Car", rgb=(64, 0, 128), category="vehicle"),
        Label("Pedestrian", rgb=(64, 64, 0), category="human"),
        Label("Bicyclist", rgb=(0, 128, 192), category="human"),
    ),
    layouts=(Layout(images="{split}/*{suffix}", labels="{split}annot/*.png"),),
    splits={"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")},
    ignored_raw_ids=(11, 255),                              # the SegNet files write void as 11, other copies as 255
    hint="the folder that holds train/, trainannot/, val/, valannot/, test/ and testannot/",
    crop_size=(360, 480),
)
