"""The table of datasets: `spec` and `build` by name."""

from pathlib import Path

import pytest

import datasets


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_trains_and_validates_by_default(name: str) -> None:
    assert {"train", "val", "trainval"} <= set(datasets.spec(name).splits)
    assert datasets.spec(name).name == name


def test_streets_is_read_like_cityscapes() -> None:
    streets, cityscapes = datasets.spec("streets"), datasets.spec("cityscapes")
    assert (streets.classes, streets.layouts) == (cityscapes.classes, cityscapes.layouts)


def test_an_unknown_dataset_names_the_nearest() -> None:
    with pytest.raises(
        datasets.DatasetError,
        match=r"unknown dataset 'camvit', did you mean 'camvid' or 'camvid_full'\? .*cityscapes",
    ):
        datasets.spec("camvit")


def test_without_a_root_the_flag_is_named() -> None:
    with pytest.raises(
        datasets.DatasetError, match=r"Cityscapes needs --data_root: the folder that holds leftImg"
    ):
        datasets.build("cityscapes", None, "train")


@pytest.mark.parametrize("name", datasets.names())
def test_documents_hold_every_class_with_its_color_and_ids(name: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "DATASETs.md").read_text(encoding="utf-8")
    spec = datasets.spec(name)
    rows = [
        f"| {train_id} | {label.name} | {', '.join(map(spec.describe, spec.raw_ids(train_id)))} | "
        f"{', '.join(map(str, label.rgb))} |"
        for train_id, label in enumerate(spec.classes)
    ]
    assert [row for row in rows if row not in text] == []
    assert "x".join(map(str, spec.crop_size)) in text
    assert f"`{name}`" in text
    assert [split for split in spec.splits if split not in text] == []
