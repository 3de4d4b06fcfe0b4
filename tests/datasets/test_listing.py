"""Listing a split: the layouts that fit, and the errors for files that are missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datasets
from datasets.layout import Layout
from datasets.listing import _fill, _match, evenly_spaced
from datasets.spec import DatasetError
from tests.datasets.pairs import write_cityscapes, write_pair

WriteCamvid = Callable[..., Path]


FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.text("abz09_.-", min_size=1, max_size=6).filter(lambda name: not name.startswith("."))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("leftImg8bit", "gtFine"),
        ("leftImg8bit_trainvaltest/leftImg8bit", "gtFine_trainvaltest/gtFine"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".JPG"])
def test_both_cityscapes_trees_are_read(
    tmp_path: Path, images: str, labels: str, suffix: str
) -> None:
    write_cityscapes(tmp_path, images, labels, suffix)
    data = datasets.build("cityscapes", tmp_path, "trainval")
    assert [sample.image.parts[-3:-1] for sample in data.samples] == [
        ("train", "aachen"),
        ("train", "zurich"),
        ("val", "aachen"),
        ("val", "zurich"),
    ]
    assert data[0]["label"].unique().tolist() == [0]  # raw 7 is road


def test_equal_names_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for city in ("aachen", "zurich"):
        write_pair(
            tmp_path,
            f"leftImg8bit/train/{city}/0_leftImg8bit.png",
            f"gtFine/train/{city}/0_gtFine_labelIds.png",
        )
    data = datasets.build("cityscapes", tmp_path, "train")
    assert [sample.name for sample in data.samples] == ["aachen_0", "zurich_0"]


def test_hidden_files_are_no_images(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    (root / "train/._train_0.png").write_bytes(b"a copy program's note")
    assert len(datasets.build("camvid", root, "train")) == 4


def test_a_missing_root_says_where_to_point(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nowhere is missing\. Point --data_root at the folder that holds"
    ):
        datasets.build("camvid", tmp_path / "nowhere", "train")


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "camvid.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"camvid\.zip is not a folder"):
        datasets.build("camvid", tmp_path / "camvid.zip", "train")


def test_another_layout_says_what_was_looked_for_and_what_was_found(
    write_camvid: WriteCamvid,
) -> None:
    root = write_camvid()
    with pytest.raises(FileNotFoundError) as refused:
        datasets.build("cityscapes", root, "train")
    message = str(refused.value)
    wanted = "leftImg8bit/train/*/*_leftImg8bit{.png,.jpg,.jpeg,.webp}"
    assert f"no image matches {wanted} or leftImg8bit_trainvaltest/{wanted} under {root}" in message
    assert "which holds train/, trainannot/, val/, valannot/." in message
    assert (
        "Point --data_root at the folder that holds leftImg8bit/ and gtFine/ (see DATASETs.md)"
        in message
    )


def test_only_ten_of_many_entries_are_listed(tmp_path: Path) -> None:
    for number in range(13):
        (tmp_path / f"entry_{number:02}").mkdir()
    with pytest.raises(FileNotFoundError, match=r"entry_09/ and 3 more\."):
        datasets.build("camvid", tmp_path, "train")


@pytest.mark.parametrize("wrong", [".", "data/camvid/train"])
def test_a_root_one_folder_off_is_put_right(
    write_camvid: WriteCamvid, tmp_path: Path, wrong: str
) -> None:
    write_camvid()
    (tmp_path / "data/camvid").mkdir(parents=True)
    for folder in ("train", "trainannot"):
        (tmp_path / folder).rename(tmp_path / "data/camvid" / folder)
    wrong_root = tmp_path / "data" if wrong == "." else tmp_path / wrong
    with pytest.raises(
        FileNotFoundError, match=r"Point --data_root at \S*/data/camvid, which holds them"
    ):
        datasets.build("camvid", wrong_root, "train")


def test_folders_that_no_split_of_a_yaml_file_names_are_named(
    write_camvid: WriteCamvid, tmp_path: Path
) -> None:
    root = write_camvid()
    (root / "val").rename(root / "validation")
    (tmp_path / "mine.yaml").write_text(
        'images: "{split}/*.png"\nlabels: "{split}annot/*.png"\n'
        "classes: [{name: sky, rgb: [1, 2, 3]}, {name: road, rgb: [4, 5, 6]}]\n"
    )
    # train is a split already; the folders of labels cannot be told from those of images
    wanted = (
        r"In place of val/ there is trainannot/, valannot/, validation/: name the folder of each "
        r"split in \S*mine\.yaml, as in splits: \{val: FOLDER\}"
    )
    with pytest.raises(FileNotFoundError, match=wanted):
        datasets.build(str(tmp_path / "mine.yaml"), root, "val")


def test_labels_of_another_name_than_the_yaml_files_are_named(
    write_camvid: WriteCamvid, tmp_path: Path
) -> None:
    root = write_camvid()
    (tmp_path / "mine.yaml").write_text(
        'images: "{split}/*.png"\nlabels: "{split}annot/*_seg.png"\n'
        "classes: [{name: sky, rgb: [1, 2, 3]}, {name: road, rgb: [4, 5, 6]}]\n"
    )
    for number, label in enumerate(sorted((root / "trainannot").iterdir())):
        label.rename(label.with_name(f"frame{number}_seg.png"))
    wanted = (
        r"4 of 4 images have no label\. .*change `labels` in \S*mine\.yaml so that it finds files "
        r"such as \S*trainannot/frame0_seg\.png, or remove"
    )
    with pytest.raises(FileNotFoundError, match=wanted):
        datasets.build(str(tmp_path / "mine.yaml"), root, "train")


def test_an_unknown_split_names_the_nearest(write_camvid: WriteCamvid) -> None:
    with pytest.raises(
        DatasetError,
        match=r"no split 'valid', did you mean 'val'\? The splits are: train, val, test",
    ):
        datasets.build("camvid", write_camvid(), "valid")


def test_an_image_without_label_is_named(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    (root / "trainannot/train_2.png").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"1 of 4 images have no label.*train/train_2\.png; its label should be "
        r".*trainannot/train_2\.png\. Add the labels",
    ):
        datasets.build("camvid", root, "train")


@FAST
@given(folders=st.lists(NAMES, max_size=3), city=NAMES, stem=NAMES)
def test_an_image_names_its_label_whatever_the_names_are(
    tmp_path_factory: pytest.TempPathFactory, folders: list[str], city: str, stem: str
) -> None:
    root = tmp_path_factory.mktemp("tree")
    layout = Layout("{split}/**/*-x/*_img{suffix}", "labels/{split}/**/*/*_id.png")
    image = root.joinpath("train", *folders, f"{city}-x", f"{stem}_img.png")
    image.parent.mkdir(parents=True)
    image.touch()
    matches = [match for match in _match(layout, root, "train") if match.image == image]
    assert len(matches) == 1
    label = _fill(layout.labels.replace("{split}", "train"), matches[0].wildcards)
    assert label == "/".join(["labels/train", *folders, city, f"{stem}_id.png"])


YAML = """
images: "images/{split}/**/*.png"
labels: "labels/{split}/**/*.png"
classes: [{name: road, rgb: [1, 2, 3], id: 7}]
splits: {train: train}
"""


def write_cities(root: Path, cities: tuple[str, ...]) -> None:
    (root / "my.yaml").write_text(YAML)
    for city in cities:
        write_pair(root, f"images/train/{city}/{city}.png", f"labels/train/{city}/{city}.png")


def names(root: Path) -> list[str]:
    return [sample.name for sample in datasets.build(str(root / "my.yaml"), root, "train").samples]


def test_a_linked_city_is_listed_as_a_folder_is(tmp_path: Path) -> None:
    write_cities(tmp_path, ("aachen", "bonn"))
    for kind in ("images", "labels"):
        (tmp_path / kind / "train/bonn").rename(tmp_path / f"{kind}_of_bonn")
        (tmp_path / kind / "train/bonn").symlink_to(tmp_path / f"{kind}_of_bonn")
    assert names(tmp_path) == ["aachen", "bonn"]


def test_a_link_within_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write_cities(tmp_path, ("aachen",))
    for kind in ("images", "labels"):
        (tmp_path / kind / "train/aachen").rename(tmp_path / f"{kind}_of_aachen")
        (tmp_path / f"{kind}_linked").mkdir()
        (tmp_path / f"{kind}_linked/aachen").symlink_to(tmp_path / f"{kind}_of_aachen")
        (tmp_path / kind / "train/all").symlink_to(tmp_path / f"{kind}_linked")
    assert names(tmp_path) == ["aachen"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../.."])
def test_a_link_to_a_folder_that_holds_it_is_left_out(tmp_path: Path, target: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write_cities(root, ("aachen", "bonn"))
    (root / "images/train/aachen/again").symlink_to(target)
    assert names(root) == ["aachen", "bonn"]


def test_two_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    write_cities(tmp_path, ("aachen", "bonn"))
    for kind in ("images", "labels"):
        (tmp_path / kind / "train/aachen/to_bonn").symlink_to("../bonn")
        (tmp_path / kind / "train/bonn/to_aachen").symlink_to("../aachen")
    # each city is listed once below the other, as a link between cities asks for
    assert len(names(tmp_path)) == 4


def test_a_link_to_a_missing_folder_is_named(tmp_path: Path,
                                             caplog: pytest.LogCaptureFixture) -> None:
    write_cities(tmp_path, ("aachen",))
    (tmp_path / "images/train/bonn").symlink_to(tmp_path / "unmounted")
    assert names(tmp_path) == ["aachen"]
    assert "images/train/bonn is a link to" in caplog.text


def test_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    write_cities(tmp_path, ("aachen", ".trash"))
    assert names(tmp_path) == ["aachen"]


def test_a_missing_label_names_the_line_for_splits_without_labels(tmp_path: Path) -> None:
    write_cities(tmp_path, ("aachen", "bonn"))
    (tmp_path / "labels/train/bonn/bonn.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"my\.yaml .*unlabeled: \[train\]"):
        names(tmp_path)


def test_a_name_that_is_not_utf_8_is_named(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    for folder in ("train", "trainannot"):
        (root / folder / "train_1.png").rename(root / folder / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(DatasetError, match=r"train/caf\\xe9\.png has a name that is not UTF-8"):
        datasets.build("camvid", root, "train")


def test_names_in_other_scripts_are_listed(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    for folder in ("train", "trainannot"):
        (root / folder / "train_1.png").rename(root / folder / "道路 é.png")
    assert "道路 é" in [sample.name for sample in datasets.build("camvid", root, "train").samples]


@pytest.mark.parametrize(
    ("count", "most", "indices"), [(0, 3, []), (2, 3, [0, 1]), (5, 3, [0, 2, 4]), (15, 2, [0, 14])]
)
def test_evenly_spaced_samples_reach_from_the_first_to_the_last(
    count: int, most: int, indices: list[int]
) -> None:
    samples = [
        datasets.Sample(str(i), Path(f"{i}.png"), None, datasets.spec("streets"))
        for i in range(count)
    ]
    assert evenly_spaced(samples, most) == [samples[index] for index in indices]
