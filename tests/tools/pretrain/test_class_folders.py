"""What is listed, held out and refused."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datasets import DatasetError
from tests.tools.pretrain.conftest import SHAPES, draw
from tools.pretrain.class_folders import find_classes


def test_train_and_val_are_listed_class_by_class(shapes: Path) -> None:
    classes = find_classes(shapes, 0.5, seed=0)
    assert classes.names == tuple(SHAPES)
    assert [(image.name, image.label) for image in classes.train[6:9]] == [
        ("blue_disc/6.png", 0), ("blue_disc/7.png", 0), ("green_square/0.png", 1)]
    assert classes.val is not None
    assert [image.label for image in classes.val] == [0] * 4 + [1] * 4 + [2] * 4
    assert classes.name == shapes.name


def test_a_share_of_each_class_is_held_out_where_there_is_no_val(tmp_path: Path) -> None:
    draw(tmp_path / "all", 5, seed=0)
    first, again = (find_classes(tmp_path / "all", 0.4, seed=3) for _ in range(2))
    assert first == again
    assert first.val is not None
    assert [image.label for image in first.val] == [0, 0, 1, 1, 2, 2]
    assert len({image.name for image in [*first.train, *first.val]}) == 15
    assert find_classes(tmp_path / "all", 0.4, seed=4).val != first.val
    # at least one image, and never all
    for fraction, held_out in ((0.01, 3), (0.99, 12)):
        assert len(find_classes(tmp_path / "all", fraction, seed=0).val or ()) == held_out
    assert find_classes(tmp_path / "all", 0, seed=0).val is None


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    draw(tmp_path, 2, seed=0)
    (tmp_path / "red_triangle").rename(tmp_path / "train")
    assert find_classes(tmp_path, 0, seed=0).names == ("blue_disc", "green_square", "train")


def test_nested_images_count_and_other_files_do_not(tmp_path: Path) -> None:
    draw(tmp_path, 2, seed=0)
    (tmp_path / "blue_disc" / "images").mkdir()
    (tmp_path / "blue_disc" / "0.png").rename(tmp_path / "blue_disc" / "images" / "0.JPEG")
    for name in ("boxes.txt", ".hidden.png"):
        (tmp_path / "blue_disc" / name).write_text("")
    (tmp_path / ".cache").mkdir()
    assert [image.name for image in find_classes(tmp_path, 0, seed=0).train[:2]] == [
        "blue_disc/1.png", "blue_disc/images/0.JPEG"]


def refusal(root: Path, val_fraction: float = 0.0) -> str:
    with pytest.raises(DatasetError) as error:
        find_classes(root, val_fraction, seed=0)
    return str(error.value)


def test_folders_that_hold_no_classification_are_refused(tmp_path: Path) -> None:
    assert "--data_root missing: there is no such folder" in refusal(Path("missing"))
    assert "holds 0 class folder(s) (none)" in refusal(tmp_path)
    draw(tmp_path / "val", 1, seed=0)
    assert "holds val/, but no train/ with a folder for each class" in refusal(tmp_path)
    draw(tmp_path / "train", 1, seed=0)
    shutil.rmtree(tmp_path / "train" / "red_triangle")
    assert "lacks" not in refusal(tmp_path)
    assert "val has red_triangle besides: it must hold the 2 classes" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "val" / "blue_disc")
    assert "val lacks blue_disc and has red_triangle besides" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "train" / "blue_disc")
    assert "holds 1 class folder(s) (green_square): a classifier needs" in refusal(tmp_path)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    draw(tmp_path, 1, seed=0)
    assert f"{tmp_path / 'blue_disc' / '0.png'} is the only image of its class" in refusal(
        tmp_path, val_fraction=0.1)
    (tmp_path / "green_square" / "0.png").unlink()
    assert f"{tmp_path / 'green_square'}: this class has no image (.png" in refusal(tmp_path)
