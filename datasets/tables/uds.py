"""UDS, the unified driving dataset of SFNet-Lite (arXiv 2207.04415).

It joins four datasets, each read as the 19 classes of Cityscapes.
"""
from __future__ import annotations

from dataclasses import replace

from datasets.spec import DatasetSpec
from datasets.tables.bdd100k import BDD100K
from datasets.tables.cityscapes import CITYSCAPES
from datasets.tables.idd import IDD
from datasets.tables.mapillary import MAPILLARY

HINT = "the folder that holds bdd/, cityscapes/, IDD/ and mapillary/"

# class of Mapillary Vistas -> class of Cityscapes
FROM_MAPILLARY = {
    "Road": "road",
    "Lane Marking - General": "road",
    "Manhole": "road",
    "Curb": "sidewalk",
    "Sidewalk": "sidewalk",
    "Building": "building",
    "Wall": "wall",
    "Fence": "fence",
    "Pole": "pole",
    "Utility Pole": "pole",
    "Traffic Light": "traffic light",
    "Traffic Sign (Front)": "traffic sign",
    "Vegetation": "vegetation",
    "Terrain": "terrain",
    "Sky": "sky",
    "Person": "person",
    "Bicyclist": "rider",
    "Motorcyclist": "rider",
    "Other Rider": "rider",
    "Car": "car",
    "Truck": "truck",
    "Bus": "bus",
    "On Rails": "train",
    "Motorcycle": "motorcycle",
    "Bicycle": "bicycle",
}

UDS = DatasetSpec(
    name="uds",
    title="UDS",
    classes=BDD100K.classes,
    layouts=(),
    parts=(
        ("bdd", replace(BDD100K, title="UDS, bdd", hint=HINT)),
        ("cityscapes", replace(CITYSCAPES, title="UDS, cityscapes", hint=HINT)),
        ("IDD", replace(IDD, title="UDS, IDD", hint=HINT)),
        ("mapillary", MAPILLARY.remapped_to(CITYSCAPES.classes, FROM_MAPILLARY,
                                            title="UDS, mapillary", hint=HINT)),
    ),
    splits={"train": ("train",), "val": ("val",), "trainval": ("train", "val")},
    hint=HINT,
)
