"""The flags of the group "Data", and the options that they become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from datasets.options import DataOptions, EvalDataOptions
from datasets.reader import JoinedDataset
from utils.cli import FlagParser


def options(*words: str) -> DataOptions:
    parser = FlagParser()
    datasets.add_flags(parser)
    return DataOptions.from_args(parser.parse_args(words))


def eval_options(*words: str) -> EvalDataOptions:
    parser = FlagParser()
    datasets.add_flags(parser, training=False)
    return EvalDataOptions.from_args(parser.parse_args(words))


def test_the_embedded_dataset_is_the_default() -> None:
    defaults = options()
    assert defaults.spec is datasets.spec("streets")
    assert (defaults.data_root, defaults.train_split, defaults.val_split) == (None, "train", "val")
    assert defaults.num_workers >= 1
    assert not defaults.skip_bad


def test_the_defaults_of_the_flags_are_those_of_the_options() -> None:
    assert options("--num_workers", "0") == DataOptions(spec=datasets.spec("streets"))
    assert eval_options("--num_workers", "0") == EvalDataOptions()


def test_every_training_flag_becomes_an_option() -> None:
    given = options(
        "--dataset",
        "cityscapes",
        "--data_root",
        "there",
        "--train_split",
        "trainval",
        "--val_split",
        "none",
        "--packed",
        "pack",
        "--cv",
        "1",
        "--on_bad_sample",
        "skip",
        "--class_uniform_pct",
        "0.5",
        "--class_uniform_tile",
        "512",
        "--max_cu_epoch",
        "150",
        "--coarse_boost_classes",
        "14,15",
        "--cache_dir",
        "cache",
        "--num_workers",
        "3",
    )
    assert given == DataOptions(
        spec=datasets.spec("cityscapes"),
        data_root="there",
        train_split="trainval",
        val_split="none",
        packed="pack",
        cv=1,
        on_bad_sample="skip",
        class_uniform_pct=0.5,
        class_uniform_tile=512,
        max_cu_epoch=150,
        coarse_boost_classes=(14, 15),
        cache_dir="cache",
        num_workers=3,
    )
    assert given.skip_bad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": -1}, "--num_workers -1 is out of range: give 0 or more"),
        ({"on_bad_sample": "cry"}, "--on_bad_sample cry is unknown: give one of stop, skip"),
        (
            {"class_uniform_pct": 1.5},
            "--class_uniform_pct 1.5 is out of range: give a fraction from 0 to",
        ),
        ({"class_uniform_tile": 0}, "--class_uniform_tile 0 is out of range: give 1 or more"),
        ({"max_cu_epoch": 0}, "--max_cu_epoch 0 is out of range: give 1 or more"),
        ({"coarse_boost_classes": (3,)}, "--coarse_boost_classes adds to class-uniform draws"),
    ],
)
def test_an_option_out_of_range_names_flag_value_and_remedy(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(datasets.DatasetError, match=message):
        DataOptions(spec=datasets.spec("cityscapes"), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": -1}, "--num_workers -1 is out of range: give 0 or more"),
        ({"mode": "rough"}, "--mode rough is unknown: give one of fine, coarse"),
        ({"max_images": 0}, "--max_images 0 is out of range: give 1 or more"),
    ],
)
def test_an_evaluation_option_out_of_range_names_flag_value_and_remedy(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(datasets.DatasetError, match=message):
        EvalDataOptions(**changes)


def test_an_unknown_dataset_is_refused_before_any_file_is_read() -> None:
    with pytest.raises(datasets.DatasetError, match="unknown dataset 'camvit'"):
        options("--dataset", "camvit")


def test_the_training_set_has_the_transform_and_the_validation_set_has_none(
    write_camvid: Callable[..., Path],
) -> None:
    chosen = options("--dataset", "camvid", "--data_root", str(write_camvid()))
    train_set, plan = chosen.build_train_set(
        lambda image, label, focus, rng: (image[:2], label[:2]), None, seed=3
    )
    val_set = chosen.build_val_set()
    assert not isinstance(train_set, JoinedDataset)
    assert val_set is not None
    assert (train_set.split, val_set.split) == ("train", "val")
    assert (plan.seed, len(plan)) == (3, len(train_set))
    assert train_set[0]["label"].shape[0] == 2
    assert val_set[0]["label"].shape[0] > 2


def test_without_a_validation_split_there_is_no_validation_set(
    write_camvid: Callable[..., Path],
) -> None:
    root = str(write_camvid())
    chosen = options("--dataset", "camvid", "--data_root", root, "--val_split", "none")
    assert chosen.build_val_set() is None


def test_evaluation_reads_the_split_of_the_given_dataset(write_camvid: Callable[..., Path]) -> None:
    chosen = eval_options("--data_root", str(write_camvid()), "--split", "train")
    data = chosen.build(datasets.spec("camvid"))
    assert (data.spec.name, data.split) == ("camvid", "train")


def write_own(root: Path, splits: tuple[str, ...], described: str) -> str:
    """Writes a dataset with a pair in each split; returns the path of its YAML file."""
    for split in splits:
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir()
            assert cv2.imwrite(str(root / folder / "a.png"), np.zeros((4, 4), np.uint8))
    (root / "own.yaml").write_text(
        'images: "{split}/*.png"\nlabels: "{split}annot/*.png"\n'
        f"classes: [{{name: road, rgb: [1, 2, 3]}}]\n{described}\n")
    return str(root / "own.yaml")


@pytest.mark.parametrize(("splits", "described", "flags", "split"), [
    (("train", "val"), "", ("--val_split", "val"), "val"),
    # there is no test
    (("train", "val"), "", ("--val_split", "none"), "val"),
    (("train", "test"), "splits: {train: train, test: test}", ("--val_split", "none"), "test"),
    # test has no labels
    (("train", "val", "test"),
     "splits: {train: train, val: val, test: test}\nunlabeled: [test]", ("--val_split", "none"),
     "val"),
    # test has no files
    (("train", "val"), "splits: {train: train, val: val, test: test}", ("--val_split", "none"),
     "val"),
    (("train", "night"), "splits: {train: train, night: night}", ("--val_split", "none"), "night"),
    (("train",), "splits: {train: train}", ("--val_split", "none"), "train"),
])
def test_the_split_to_score_has_labels_and_files(
        tmp_path: Path, splits: tuple[str, ...], described: str, flags: tuple[str, str],
        split: str) -> None:
    file = write_own(tmp_path, splits, described)
    given = options("--dataset", file, "--data_root", str(tmp_path), *flags)
    assert given.eval_flags() == ["--dataset", file, "--data_root", str(tmp_path), "--split", split]
