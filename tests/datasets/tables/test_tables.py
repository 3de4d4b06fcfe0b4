"""The tables of the other datasets: facts that their papers and tools state."""

import numpy as np
import pytest

import datasets
from datasets.spec import UNKNOWN
from datasets.tables.camvid import ORIGINAL
from utils import IGNORE_LABEL

CLASSES = {
    "camvid": 11,
    "camvid_full": 11,
    "bdd100k": 19,
    "idd": 19,
    "idd26": 26,
    "idd_lite": 7,
    "mapillary": 65,
    "kitti": 19,
    "acdc": 19,
    "uds": 19,
    "ade20k": 150,
    "pascal_context": 59,
    "pascal_context60": 60,
    "cityscapes": 19,
    "streets": 19,
}

# dataset, raw id, class
ROWS = [
    ("idd", 0, "road"),
    ("idd", 5, "terrain"),
    ("idd", 17, "train"),
    ("idd", 32, "vegetation"),
    ("idd", 24, "traffic sign"),
    ("idd26", 2, "drivable fallback"),
    ("idd26", 7, "person/animal"),
    ("idd26", 17, "vehicle fallback"),
    ("idd26", 27, "pole"),
    ("idd26", 31, "bridge/tunnel"),
    ("idd26", 11, "autorickshaw"),
    ("idd26", 33, "sky"),
    ("idd_lite", 4, "roadside objects"),
    ("mapillary", 0, "Bird"),
    ("mapillary", 13, "Road"),
    ("mapillary", 24, "Lane Marking - General"),
    ("mapillary", 45, "Pole"),
    ("mapillary", 50, "Traffic Sign (Front)"),
    ("mapillary", 58, "On Rails"),
    ("mapillary", 64, "Ego Vehicle"),
    ("ade20k", 1, "wall"),
    ("ade20k", 13, "person"),
    ("ade20k", 21, "car"),
    ("ade20k", 84, "truck"),
    ("ade20k", 150, "flag"),
    ("pascal_context", 1, "aeroplane"),
    ("pascal_context", 37, "person"),
    ("pascal_context", 59, "wood"),
    ("pascal_context60", 0, "background"),
    ("bdd100k", 10, "sky"),
    ("kitti", 26, "car"),
    ("acdc", 13, "car"),
]


@pytest.mark.parametrize(("name", "count"), CLASSES.items())
def test_a_table_has_its_number_of_classes_each_with_a_name_of_its_own(
    name: str, count: int
) -> None:
    names = datasets.spec(name).names
    assert len(names) == count
    assert len({*names}) == count


def test_every_dataset_is_in_this_list() -> None:
    assert {*CLASSES} == {*datasets.names()}


@pytest.mark.parametrize(("name", "raw_id", "expected"), ROWS)
def test_a_raw_id_is_read_as_its_class(name: str, raw_id: int, expected: str) -> None:
    spec = datasets.spec(name)
    assert spec.names[spec.raw_to_train[raw_id]] == expected


def test_label_files_of_mapillary_and_ade_hold_nothing_that_is_not_named() -> None:
    assert [*datasets.spec("mapillary").raw_to_train] == [*range(66), 255]
    assert [*datasets.spec("ade20k").raw_to_train] == [*range(151), 255]
    assert [*datasets.spec("pascal_context").raw_to_train] == [*range(60), 255]
    assert (
        [*datasets.spec("idd").raw_to_train]
        == [*datasets.spec("idd26").raw_to_train]
        == [*range(40), 255]
    )


def test_colors_of_a_table_differ_where_the_dataset_says_so() -> None:
    for name in ("mapillary", "idd26", "pascal_context60", "camvid", "cityscapes"):
        rgbs = [label.rgb for label in datasets.spec(name).classes]
        assert len({*rgbs}) == len(rgbs), name
    ade = [label.rgb for label in datasets.spec("ade20k").classes]
    assert {rgb for rgb in ade if ade.count(rgb) > 1} == {(140, 140, 140)}  # road and runway


def test_colors_of_pascal_are_those_of_voc() -> None:
    spec = datasets.spec("pascal_context60")
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    assert [label.rgb for label in spec.classes[:5]] == expected
    assert spec.classes[21].rgb == (
        128,
        64,
        128,
    )  # 21 = 0b010101: bits 0, 2, 4 set bit 7 of red and blue, ...


# The classes of Cityscapes that the ids of Mapillary and IDD become in the merged dataset.
MAPILLARY_IDS = {
    "road": (13, 24, 41),
    "sidewalk": (2, 15),
    "building": (17,),
    "wall": (6,),
    "fence": (3,),
    "pole": (45, 47),
    "traffic light": (48,),
    "traffic sign": (50,),
    "vegetation": (30,),
    "terrain": (29,),
    "sky": (27,),
    "person": (19,),
    "rider": (20, 21, 22),
    "car": (55,),
    "truck": (61,),
    "bus": (54,),
    "train": (58,),
    "motorcycle": (57,),
    "bicycle": (52,),
}


def test_mapillary_is_merged_by_the_published_map() -> None:
    part = dict(datasets.spec("uds").parts)["mapillary"]
    assert {
        label.name: tuple(sorted(label.raw_ids or ())) for label in part.classes
    } == MAPILLARY_IDS
    named = {raw_id for ids in MAPILLARY_IDS.values() for raw_id in ids}
    assert {raw_id for raw_id in range(66) if part.lookup[raw_id] == IGNORE_LABEL} == {
        *range(66)
    } - named
    assert part.lookup[66] == UNKNOWN


def test_every_part_of_the_merged_set_has_the_classes_of_the_whole() -> None:
    uds = datasets.spec("uds")
    assert [folder for folder, _ in uds.parts] == ["bdd", "cityscapes", "IDD", "mapillary"]
    for _, part in uds.parts:
        assert [(label.name, label.rgb) for label in part.classes] == [
            (label.name, label.rgb) for label in uds.classes
        ]


def test_the_original_camvid_has_32_colors_that_become_11_classes() -> None:
    spec = datasets.spec("camvid_full")
    assert (
        len(ORIGINAL) == len({rgb for rgb, _ in ORIGINAL.values()}) == len(spec.raw_to_train) == 32
    )
    assert {becomes for _, becomes in ORIGINAL.values() if becomes} == {*spec.names}
    assert sorted(name for name, (_, becomes) in ORIGINAL.items() if becomes is None) == [
        "Animal",
        "Archway",
        "Bridge",
        "CartLuggagePram",
        "Child",
        "OtherMoving",
        "TrafficCone",
        "Train",
        "Tunnel",
        "Void",
    ]


def test_colors_become_train_ids() -> None:
    spec = datasets.spec("camvid_full")
    raw = np.array(
        [[0x808080, 0x8000C0, 0x000000, 0x010203]], np.uint32
    )  # Sky, LaneMkgsDriv, Void, nothing
    assert spec.to_train_ids(raw).tolist() == [[0, 3, IGNORE_LABEL, UNKNOWN]]
    assert spec.to_raw_ids[[0, 3, IGNORE_LABEL]].tolist() == [
        [128, 128, 128],
        [128, 64, 128],
        [0, 0, 0],
    ]
