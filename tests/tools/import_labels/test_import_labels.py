"""The command, from the files of a tool to a dataset that trains."""
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datasets
import train
from tests.tools.import_labels.conftest import (
    LEFT,
    MIDDLE,
    RIGHT,
    coco,
    labelme,
    write_labelme,
    write_picture,
)
from tools.import_labels.__main__ import main


def run(*words: object) -> int:
    return main([*map(str, words)])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line with which the command refuses."""
    assert run(*words) == 2
    return capsys.readouterr().err


def label_of(out: Path, name: str, split: str = "train") -> np.ndarray:
    return np.array(Image.open(out / "labels" / split / f"{name}.png"))


@pytest.fixture
def pictures(folder: Path) -> Path:
    """Ten images with files of LabelMe: a road on the left, a car in the middle on top."""
    for number in range(10):
        write_picture(folder / f"{number}.png")
        write_labelme(folder / f"{number}.json", labelme("road", LEFT), labelme("car", MIDDLE))
    return folder


def test_a_folder_of_labelme_becomes_a_dataset(pictures: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("labelme", pictures, "--out", out) == 0
    said = capsys.readouterr().out
    assert "10 images (9 train, 1 val), 2 classes" in said
    # the car covers 4 x 2 pixels of the road in each image
    assert "80 pixels in 10 images; the shape drawn last counts: car over road 80" in said
    data = datasets.build(str(out / "dataset.yaml"), None, "trainval")
    assert data.spec.names == ("car", "road") and data.spec.crop_size == (8, 8)
    expected = np.full((8, 8), 255)
    expected[:, :4] = 1
    expected[2:6, 2:6] = 0
    assert all((data[i]["label"].numpy() == expected).all() for i in range(10))


def test_a_folder_that_cannot_be_made_is_named_with_its_flag(
        pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    line = refused(capsys, "labelme", pictures, "--out", file / "city")
    assert f"--out {file}/city cannot be made (Not a directory)" in line


def test_flags_choose_classes_splits_and_the_background(pictures: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write_labelme(pictures / "0.json", labelme("bus", RIGHT), labelme("dog", MIDDLE))
    flags = ("--classes", "road", "vehicle=car,bus", "--background", "other", "--overlap",
             "ignore")
    assert run("labelme", pictures, "--out", out, "--split", "test", *flags) == 0
    spec = datasets.spec(str(out / "dataset.yaml"))
    assert spec.names == ("other", "road", "vehicle") and [*spec.splits] == ["test"]
    label = label_of(out, "0", "test")
    # the dog is no class; half of it lies on the bus
    assert label[0].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    assert label[3].tolist() == [0, 0, 255, 255, 255, 255, 2, 2]
    assert "no class, ignored areas: 1 shapes 'dog'" in capsys.readouterr().out
    # the classes of the folder stay
    (pictures / "0.json").unlink()
    assert "but not car: give all imports the same --classes" in refused(
        capsys, "labelme", pictures, "--out", out)
    assert run("labelme", pictures, "--out", out, "--classes", "vehicle=car", "--split", "val") == 0
    assert [*datasets.spec(str(out / "dataset.yaml")).splits] == ["test", "val"]
    assert label_of(out, "1", "val")[3, 3] == 2


def test_coco_draws_the_smaller_object_on_top(folder: Path, tmp_path: Path) -> None:
    whole = [[0, 0, 8, 0, 8, 8, 0, 8]]
    small = [[0, 0, 2, 0, 2, 2, 0, 2]]
    content = coco({"category_id": 7, "segmentation": small},
                   {"category_id": 3, "segmentation": whole})
    (folder / "instances.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    assert run("coco", folder / "instances.json", "--out", out) == 0
    label = label_of(out, "a")
    # the categories in the order of the file: car, road
    assert (label[:2, :2] == 0).all() and (label == 1).sum() == 60


def test_missing_images_stop_the_import_or_are_left_out(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [{"id": i, "file_name": f"{name}.png", "height": 8, "width": 8}
              for i, name in enumerate("abc")]
    whole = [[0, 0, 8, 0, 8, 8, 0, 8]]
    content = coco(*({"image_id": i, "category_id": 3, "segmentation": whole} for i in (0, 1)),
                   images=images)
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    command = ("coco", path, "--out", tmp_path / "out")
    assert "2 of 3 images are missing, such as b.png" in refused(capsys, *command)
    assert "nowhere is no folder" in refused(capsys, *command, "--images", "nowhere")
    assert not (tmp_path / "out").exists()
    assert run(*command, "--skip_missing") == 0
    assert "images left out: 2 images whose file is missing" in capsys.readouterr().out
    write_picture(folder / "b.png")
    write_picture(folder / "c.png")
    assert run(*command) == 0
    assert "images left out: 1 images without a shape" in capsys.readouterr().out
    assert run(*command, "--background", "car", "--val", "0") == 0
    assert (label_of(tmp_path / "out", "c") == 0).all()


@pytest.mark.parametrize(("change", "flags", "message"), [
    (None, (), "does not exist: name the labelme labels"),
    ({}, ("--classes", "tree"), "the files have no label 'tree'; they have 'car', 'road'"),
    ({}, ("--classes", "car", "vehicle=car"), "--classes names the label 'car' twice"),
    ({}, ("--table", "t.txt"), "--table goes with voc, cvat_masks and color only"),
    ({}, ("--masks", "m"), "--masks goes with coco only"),
    ({"imageHeight": 9}, (), "labeled at 9x8"),
    ({"shapes": [labelme("car", [[20, 20], [30, 20], [30, 30]])]}, (), "no pixel belongs to car"),
    ({"shapes": []}, (), "a dataset has 1 to 254"),
    ({"shapes": [labelme(str(i), MIDDLE) for i in range(300)]}, (), "has 300 classes"),
])
def test_a_refusal_is_one_line(folder: Path, tmp_path: Path, change: dict[str, Any] | None,
                               flags: tuple[str, ...], message: str,
                               capsys: pytest.CaptureFixture[str]) -> None:
    shapes = [labelme("road", LEFT), labelme("car", MIDDLE)]
    path = write_labelme(folder / "a.json", *shapes, **(change or {}))
    if change is None:
        path = folder / "nowhere"
    said = refused(capsys, "labelme", path, "--out", tmp_path / "out", *flags)
    assert message in said and "Traceback" not in said and said.count("\n") == 1
    assert not (tmp_path / "out/dataset.yaml").exists()


def test_two_images_of_one_name_are_refused(folder: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    images = [{"id": i, "file_name": f"a.{suffix}", "height": 8, "width": 8}
              for i, suffix in enumerate(("png", "jpg"))]
    whole = [[0, 0, 8, 0, 8, 8, 0, 8]]
    content = coco(*({"image_id": i, "category_id": 3, "segmentation": whole} for i in (0, 1)),
                   images=images)
    (folder / "instances.json").write_text(json.dumps(content))
    assert "would have the same label file a.png" in refused(
        capsys, "coco", folder, "--out", tmp_path / "out")


def write_cvat(folder: Path, **subsets: str) -> Path:
    """annotations.xml with a box in each image; subset -> image."""
    box = "<box label='car' xtl='1' ytl='1' xbr='3' ybr='3'/>"
    images = "".join(f"<image name='{name}' width='8' height='8' subset='{subset}'>{box}</image>"
                     for subset, name in subsets.items())
    (folder / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    return folder / "annotations.xml"


@pytest.mark.parametrize("split", ["../../../elsewhere", "..", "/elsewhere", "trainval"])
def test_a_split_that_is_no_name_is_refused(folder: Path, tmp_path: Path, split: str,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    source = write_cvat(folder, **{split: "a.png"})
    before = sorted(tmp_path.rglob("*"))
    message = refused(capsys, "cvat", source, "--out", tmp_path / "out/deep")
    assert f"a.png belongs to the split '{split}', which is no name of a split" in message
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit):
        run("cvat", source, "--out", tmp_path / "out", "--split", split)
    assert run("cvat", source, "--out", tmp_path / "out", "--split", "train") == 0


def test_images_of_one_name_in_train_and_in_no_split_are_refused(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_cvat(folder, Train="a.png", default="a.png")
    assert "would have the same label file a.png" in refused(
        capsys, "cvat", source, "--out", tmp_path / "out")


def test_an_image_beside_the_labels_or_where_they_say_is_found(folder: Path,
                                                               tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    write_labelme(tool / "sub/x.json", labelme("car", MIDDLE), imagePath="../../in/a.png")
    write_labelme(tool / "y.json", labelme("car", MIDDLE), imagePath="C:\\work\\y.png")
    write_picture(tool / "y.png")
    assert run("labelme", tool, "--out", tmp_path / "out", "--split", "train") == 0
    for name in ("sub/x", "y"):
        assert (label_of(tmp_path / "out", name) == 0).sum() == 16


def test_two_commands_lead_from_labelme_to_a_trained_network(pictures: Path,
                                                             tmp_path: Path) -> None:
    for number in range(10):
        write_picture(pictures / f"{number}.png", 64, 96)
        half = [[0, 0], [48, 0], [48, 64], [0, 64]]
        rest = [[48, 0], [96, 0], [96, 64], [48, 64]]
        write_labelme(pictures / f"{number}.json", labelme("road", half), labelme("car", rest),
                      imageHeight=64, imageWidth=96)
    out = tmp_path / "mine"
    assert run("labelme", pictures, "--out", out) == 0
    assert train.main(["--dataset", str(out / "dataset.yaml"), "--arch", "sfnet_dfnetv1",
                       "--pretrained", "none", "--exp", "mine", "--ckpt", str(tmp_path / "logs"),
                       "--max_iters", "2", "--bs_mult", "2", "--num_workers", "0"]) == 0
    lines = (tmp_path / "logs/mine/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["kind"] == "validation"
    shutil.rmtree(tmp_path / "logs")
