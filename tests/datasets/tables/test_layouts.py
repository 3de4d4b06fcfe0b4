"""Every table reads the folder layouts that users have, and its splits hold the right images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from datasets.spec import DatasetError

CITY = "leftImg8bit/{0}/aachen/aachen_000000_000019_leftImg8bit.png"
REFERENCE_CITY = "leftImg8bit_{1}/" + CITY


def write_pair(
    root: Path, image: str, label: str | None, value: int | tuple[int, int, int] = 0
) -> None:
    """Writes a gray image, and a label whose pixels all have one id, or one color (R, G, B)."""
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(root / image), np.full((4, 6, 3), 90, np.uint8))
    if label is not None:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        pixel = value if isinstance(value, int) else value[::-1]
        shape = (4, 6) if isinstance(value, int) else (4, 6, 3)
        assert cv2.imwrite(str(root / label), np.full(shape, pixel, np.uint8))


# dataset, split, image, label, raw value, train id
LAYOUTS = [
    (
        "cityscapes",
        "train",
        CITY.format("train"),
        "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
        26,
        13,
    ),
    (
        "cityscapes",
        "train",
        REFERENCE_CITY.format("train", "trainvaltest"),
        "gtFine_trainvaltest/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
        26,
        13,
    ),
    (
        "cityscapes",
        "train_extra",
        CITY.format("train_extra"),
        "gtCoarse/train_extra/aachen/aachen_000000_000019_gtCoarse_labelIds.png",
        11,
        2,
    ),
    (
        "cityscapes",
        "train_extra",
        REFERENCE_CITY.format("train_extra", "trainextra"),
        "gtCoarse/gtCoarse/train_extra/aachen/aachen_000000_000019_gtCoarse_labelIds.png",
        11,
        2,
    ),
    (
        "cityscapes",
        "train_coarse",
        CITY.format("train"),
        "gtCoarse/train/aachen/aachen_000000_000019_gtCoarse_labelIds.png",
        11,
        2,
    ),
    (
        "cityscapes",
        "val_coarse",
        REFERENCE_CITY.format("val", "trainvaltest"),
        "gtCoarse/gtCoarse/val/aachen/aachen_000000_000019_gtCoarse_labelIds.png",
        11,
        2,
    ),
    ("camvid", "train", "train/0001TP_006690.png", "trainannot/0001TP_006690.png", 11, 255),
    ("camvid", "test", "test/0001TP_008550.jpg", "testannot/0001TP_008550.png", 255, 255),
    (
        "camvid_full",
        "val",
        "701_StillsRaw_full/0016E5_07959.png",
        "LabeledApproved_full/0016E5_07959_L.png",
        (64, 192, 0),
        1,
    ),
    (
        "kitti",
        "trainval",
        "training/image_2/000000_10.png",
        "training/semantic/000000_10.png",
        7,
        0,
    ),
    (
        "acdc",
        "val_fog",
        "rgb_anon/fog/val/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "gt/fog/val/GOPR0475/GOPR0475_frame_000041_gt_labelTrainIds.png",
        13,
        13,
    ),
    (
        "acdc",
        "train_night",
        "rgb_anon/night/train/GOPR0351/GOPR0351_frame_000159_rgb_anon.png",
        "gt/night/train/GOPR0351/GOPR0351_frame_000159_gt_labelTrainIds.png",
        255,
        255,
    ),
    ("bdd100k", "val", "images/val/a.jpg", "labels/val/a_train_id.png", 18, 18),
    ("bdd100k", "train", "images/10k/train/a.jpg", "labels/sem_seg/masks/train/a.png", 255, 255),
    (
        "idd",
        "train",
        "leftImg8bit/train/201/frame0029_leftImg8bit.png",
        "gtFine/train/201/frame0029_gtFine_labelids.png",
        29,
        2,
    ),
    (
        "idd",
        "val",
        "leftImg8bit/val/201/frame0029_leftImg8bit.jpg",
        "gtFine/val/201/frame0029_gtFine_labelcsTrainIds.png",
        13,
        13,
    ),
    (
        "idd",
        "val",
        "leftImg8bit/val/201/frame0029.jpg",
        "gtFine/val/201/frame0029_gtFine_labelids.png",
        5,
        9,
    ),
    (
        "idd26",
        "val",
        "leftImg8bit/val/201/frame0029_leftImg8bit.jpg",
        "gtFine/val/201/frame0029_gtFine_labelids.png",
        34,
        25,
    ),
    (
        "idd26",
        "val",
        "leftImg8bit/val/201/frame0029_leftImg8bit.jpg",
        "gtFine/val/201/frame0029_gtFine_labellevel3Ids.png",
        23,
        23,
    ),
    (
        "idd_lite",
        "val",
        "leftImg8bit/val/12/024541_image.jpg",
        "gtFine/val/12/024541_label.png",
        5,
        5,
    ),
    ("mapillary", "val", "validation/images/x.jpg", "validation/labels/x.png", 65, 255),
    ("mapillary", "train", "training/images/x.jpg", "training/v1.2/labels/x.png", 13, 13),
    (
        "ade20k",
        "train",
        "images/training/ADE_train_00000001.jpg",
        "annotations/training/ADE_train_00000001.png",
        150,
        149,
    ),
    (
        "ade20k",
        "val",
        "images/validation/ADE_val_00000001.jpg",
        "annotations/validation/ADE_val_00000001.png",
        0,
        255,
    ),
]


@pytest.mark.parametrize(
    ("name", "split", "image", "label", "raw", "train_id"),
    LAYOUTS,
    ids=[f"{row[0]}-{row[3]}" for row in LAYOUTS],
)
def test_a_tree_is_read_as_it_is(
    tmp_path: Path,
    name: str,
    split: str,
    image: str,
    label: str,
    raw: int | tuple[int, int, int],
    train_id: int,
) -> None:
    write_pair(tmp_path, image, label, raw)
    data = datasets.build(name, tmp_path, split)
    assert len(data) == 1
    assert data[0]["label"].unique().tolist() == [train_id]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("cityscapes", CITY.format("test")),
        ("kitti", "test/image_2/000000_10.png"),
        ("kitti", "testing/image_2/000000_10.png"),
        ("bdd100k", "images/test/a.jpg"),
        ("idd", "leftImg8bit/test/2/f_leftImg8bit.png"),
        ("mapillary", "testing/images/a.jpg"),
    ],
)
def test_splits_without_public_labels_have_images_alone(
    tmp_path: Path, name: str, image: str
) -> None:
    write_pair(tmp_path, image, None)
    assert set(datasets.build(name, tmp_path, "test")[0]) == {"image", "name"}


def test_the_layout_that_has_labels_is_preferred_where_images_fit_several(tmp_path: Path) -> None:
    image = "leftImg8bit/train/201/frame0029_leftImg8bit.png"
    write_pair(tmp_path, image, "gtFine/train/201/frame0029_gtFine_labelids.png", 5)
    assert datasets.build("idd", tmp_path, "train")[0]["label"].unique().tolist() == [9]
    write_pair(tmp_path, image, "gtFine/train/201/frame0029_gtFine_labelcsTrainIds.png", 4)
    assert datasets.build("idd", tmp_path, "train")[0]["label"].unique().tolist() == [4]


# cross-validation, lists, videos


def test_cross_validation_of_cityscapes_holds_out_other_cities(tmp_path: Path) -> None:
    cities = {
        "val": ["frankfurt", "lindau", "munster"],
        "train": [f"city_{letter}" for letter in "abcdefghi"],
    }
    for folder, names in cities.items():
        for city in names:
            write_pair(
                tmp_path,
                f"leftImg8bit/{folder}/{city}/{city}_0_leftImg8bit.png",
                f"gtFine/{folder}/{city}/{city}_0_gtFine_labelIds.png",
                7,
            )
    every = [*cities["val"], *cities["train"]]  # 12 cities: split k starts at 4k
    held_out = {0: every[:3], 1: every[4:7], 2: every[8:11]}
    for number, expected in held_out.items():
        spec = datasets.spec("cityscapes")
        train, val = (
            datasets.build("cityscapes", tmp_path, datasets.split_name(spec, split, fold=number))
            for split in ("train", "val")
        )
        assert [sample.image.parts[-2] for sample in val.samples] == expected
        assert {sample.image.parts[-2] for sample in train.samples} == {*every} - {*expected}


def test_cross_validation_of_kitti_holds_out_the_images_of_its_lists(tmp_path: Path) -> None:
    for number in range(200):
        path = tmp_path / f"training/image_2/{number:06}_10.png"
        label = tmp_path / f"training/semantic/{number:06}_10.png"
        for file in (path, label):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    spec = datasets.spec("kitti")
    for number, first in enumerate((1, 0, 3)):
        train, val = (
            datasets.build("kitti", tmp_path, datasets.split_name(spec, split, fold=number)).samples
            for split in ("train", "val")
        )
        assert (len(train), len(val), val[0].name) == (179, 21, f"{first:06}_10")
        assert not {*train} & {*val}
    with pytest.raises(
        DatasetError,
        match=r"KITTI has no cross-validation split 3 of val: it has train_cv1, val_cv1",
    ):
        datasets.split_name(spec, "val", fold=3)
    with pytest.raises(DatasetError, match=r"it has none; leave --cv out"):
        datasets.split_name(datasets.spec("camvid"), "val", fold=1)


def test_an_incomplete_kitti_does_not_get_other_splits(tmp_path: Path) -> None:
    write_pair(tmp_path, "training/image_2/0.png", "training/semantic/0.png")
    with pytest.raises(
        DatasetError,
        match=r"KITTI val: the split lists image number 198, but .* only 1 images.* complete\?",
    ):
        datasets.build("kitti", tmp_path, "val")


def test_the_split_of_original_camvid_is_segnets(camvid_root: Path, tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        for path in (camvid_root / folder).iterdir():
            image = tmp_path / "701_StillsRaw_full" / f"{path.stem}.png"
            named = tmp_path / "LabeledApproved_full" / f"{path.stem}_L.png"
            for file in (image, named):
                file.parent.mkdir(exist_ok=True)
                file.touch()
    for split in ("train", "val", "test", "trainval"):
        ours = {sample.name for sample in datasets.build("camvid_full", tmp_path, split).samples}
        assert ours == {
            sample.name for sample in datasets.build("camvid", camvid_root, split).samples
        }


@pytest.mark.parametrize("prefix", ["", "VOC2010/"])
@pytest.mark.parametrize(
    ("name", "background", "last"), [("pascal_context", 255, 58), ("pascal_context60", 0, 59)]
)
def test_pascal_context_is_split_by_its_lists(
    tmp_path: Path, prefix: str, name: str, background: int, last: int
) -> None:
    for stem, raw in (("2008_000002", 0), ("2008_000003", 59), ("2008_000007", 1)):
        write_pair(
            tmp_path,
            f"{prefix}JPEGImages/{stem}.jpg",
            f"{prefix}SegmentationClassContext/{stem}.png",
            raw,
        )
    lists = tmp_path / f"{prefix}ImageSets/SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2008_000002\n2008_000003\n")
    (lists / "val.txt").write_text("2008_000009\n")
    data = datasets.build(name, tmp_path, "train")
    assert [sample["label"].unique().tolist() for sample in (data[0], data[1])] == [
        [background],
        [last],
    ]
    with pytest.raises(
        DatasetError, match=r"val\.txt, line 1: '2008_000009' names none of the 3 images"
    ):
        datasets.build(name, tmp_path, "val")
    (lists / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"the list of the split is missing: .*val\.txt"):
        datasets.build(name, tmp_path, "val")


# the merged set


@pytest.fixture
def uds_root(tmp_path: Path) -> Path:
    write_pair(tmp_path, "bdd/images/train/a.jpg", "bdd/labels/train/a_train_id.png", 13)
    write_pair(
        tmp_path,
        "cityscapes/" + CITY.format("train"),
        "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
        26,
    )
    write_pair(
        tmp_path,
        "IDD/leftImg8bit/train/2/f_leftImg8bit.png",
        "IDD/gtFine/train/2/f_gtFine_labelids.png",
        12,
    )
    write_pair(tmp_path, "mapillary/training/images/a.jpg", "mapillary/training/labels/a.png", 55)
    return tmp_path


def test_a_car_is_a_car_in_every_part_of_the_merged_set(uds_root: Path) -> None:
    data = datasets.build("uds", uds_root, "train")
    assert [sample.name for sample in data.samples] == [
        "bdd_a",
        "cityscapes_aachen_000000_000019",
        "IDD_f",
        "mapillary_a",
    ]
    assert [data[index]["label"].unique().tolist() for index in range(4)] == [[13]] * 4


def test_a_part_that_is_missing_is_named(uds_root: Path) -> None:
    (uds_root / "IDD").rename(uds_root / "idd")
    with pytest.raises(
        FileNotFoundError, match=r"UDS, IDD: \S*IDD is missing\. Point --data_root at .* bdd/, city"
    ):
        datasets.build("uds", uds_root, "train")


def test_an_unmapped_id_in_a_part_names_the_part(uds_root: Path) -> None:
    cv2.imwrite(
        str(uds_root / "IDD/gtFine/train/2/f_gtFine_labelids.png"), np.full((4, 6), 77, np.uint8)
    )
    with pytest.raises(
        DatasetError, match=r"f_gtFine_labelids\.png holds ids that UDS, IDD does not name: 77 \(24"
    ):
        datasets.build("uds", uds_root, "train")[2]


def test_a_missing_kitti_names_the_folders_that_its_split_has(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as info:
        datasets.build("kitti", tmp_path, "val")
    assert "training/image_2" in str(info.value)
    assert "traininging" not in str(info.value)
    with pytest.raises(FileNotFoundError, match=r"test/image_2.* or testing/image_2"):
        datasets.build("kitti", tmp_path, "test")
