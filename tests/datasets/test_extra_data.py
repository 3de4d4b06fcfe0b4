"""Further images of the same classes, mixed into each epoch by weight."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets
from datasets.class_uniform.plan import ClassUniformPlan
from datasets.extra_data import (
    ExtraData,
    MixedPlan,
    Source,
    check_same_sources,
    describe_sources,
    mix,
    seen_in_validation,
)
from datasets.options import DataOptions
from datasets.reader import JoinedDataset
from datasets.sampling import EpochPlan, EpochSampler

WriteCamvid = Callable[..., Path]
CLASSES = datasets.spec("camvid").names


def write_extra(folder: Path, count: int = 5, names: tuple[str, ...] = CLASSES,
                splits: str = "{train: train}") -> Path:
    """A dataset of gray images, whose YAML file is returned; image i has the value 100 + i."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"images/x{i}.png"), np.full((12, 16, 3), 100 + i, np.uint8))
        cv2.imwrite(str(folder / f"labels/x{i}.png"), np.full((12, 16), i % 3, np.uint8))
    rows = "\n".join(f"  - {{name: {name}, rgb: [{i}, {i}, {i}]}}" for i, name in enumerate(names))
    path = folder / "extra.yaml"
    path.write_text(f'root: .\nimages: "images/*{{suffix}}"\nlabels: "labels/*.png"\n'
                    f"splits: {splits}\nclasses:\n{rows}\n")
    return path


def training_options(root: Path, *extra: str, **changes: object) -> DataOptions:
    return DataOptions(spec=datasets.spec("camvid"), data_root=str(root),
                       extra_data=tuple(map(ExtraData.parse, extra)),
                       **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("suffix", "split", "weight"), [
    ("", "train", 1.0), (":train", "train", 1.0), (":0.5", "train", 0.5),
    (":other:2", "other", 2.0), (":other", "other", 1.0), (":train:1e-1", "train", 0.1),
])
def test_split_and_weight_follow_the_file(tmp_path: Path, suffix: str, split: str,
                                          weight: float) -> None:
    # a path may hold a colon
    path = write_extra(tmp_path / "at:noon", splits="{train: train, other: other}")
    extra = ExtraData.parse(f"{path}{suffix}")
    assert (extra.spec.source, extra.split, extra.weight) == (str(path), split, weight)


def test_the_only_split_is_the_default_and_names_of_datasets_are_taken(tmp_path: Path) -> None:
    path = write_extra(tmp_path / "a", splits="{all: all}")
    assert ExtraData.parse(str(path)).split == "all"
    coarse = ExtraData.parse("cityscapes:train_extra:0.1")
    assert (coarse.spec.name, coarse.split, coarse.weight) == ("cityscapes", "train_extra", 0.1)


sizes, seeds = st.integers(1, 40), st.integers(0, 2 ** 32)


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, sizes, st.integers(1, 90), st.integers(0, 4))
def test_an_epoch_has_every_draw_of_the_plan_and_those_of_the_weight(
        size: int, seed: int, extra: int, draws: int, epoch: int) -> None:
    base = EpochPlan(size, seed)
    plan = MixedPlan(base, "main", [Source("extra", size, extra, draws, 1.0)])
    found = plan.draws(epoch)
    assert len(found) == len(plan) == size + draws
    assert [(draw.seed, draw.epoch, draw.position) for draw in found] == [
        (seed, epoch, position) for position in range(size + draws)]
    counts = Counter(draw.index for draw in found)
    assert all(counts[index] == 1 for index in range(size))
    assert sum(counts[size + index] for index in range(extra)) == draws
    # over the epochs so far, the images of a source are drawn equally often
    so_far = Counter(draw.index for number in range(epoch + 1) for draw in plan.draws(number))
    uses = [so_far[size + index] for index in range(extra)]
    assert max(uses) - min(uses) <= 1


def test_the_draws_depend_on_seed_and_epoch_alone_and_are_shuffled() -> None:
    def draws(seed: int, epoch: int) -> list[int]:
        plan = MixedPlan(EpochPlan(20, seed), "main", [Source("a", 20, 10, 10, 1.0),
                                                       Source("b", 30, 10, 10, 1.0)])
        return [draw.index for draw in plan.draws(epoch)]

    assert draws(3, 7) == draws(3, 7)
    assert draws(3, 7) != draws(3, 8) and draws(3, 7) != draws(4, 7)
    order = draws(3, 7)
    assert order != sorted(order)
    # two sources of one size are not drawn in the same order
    assert [i - 20 for i in order if 20 <= i < 30] != [i - 30 for i in order if i >= 30]
    # the extra samples do not come in one block
    assert any(index < 20 for index in order[order.index(min(i for i in order if i >= 20)):])


def test_ranks_and_a_resumed_epoch_share_the_same_draws() -> None:
    plan = MixedPlan(EpochPlan(9, 1), "main", [Source("extra", 9, 4, 6, 1.5)])
    whole = [draw for batch in EpochSampler(plan, 4) for draw in batch]
    ranks = [EpochSampler(plan, 2, rank, 2) for rank in range(2)]
    for sampler in ranks:
        sampler.set_position(0, 1)
    parts = [batch for batches in zip(*ranks, strict=True) for batch in batches]
    assert [draw for batch in parts for draw in batch] == whole[4:]


def test_class_uniform_draws_stay_those_of_the_dataset() -> None:
    centroids = np.array([[0, 0, 3, 4], [1, 1, 5, 6]], np.int32)
    base = ClassUniformPlan(10, 5, centroids, 0.5)
    plan = MixedPlan(base, "main", [Source("extra", 10, 7, 7, 1.0)])
    for epoch in range(3):
        chosen = [(draw.index, draw.focus) for draw in plan.draws(epoch) if draw.index < 10]
        expected = [(draw.index, draw.focus) for draw in base.draws(epoch)]
        assert Counter(chosen) == Counter(expected)
    assert plan.class_draws(0) == base.class_draws(0)
    assert plan.describe(["a", "b"])[:2] == base.describe(["a", "b"])[:2]


def test_images_and_labels_of_each_source_are_read(write_camvid: WriteCamvid,
                                                   tmp_path: Path) -> None:
    first = write_extra(tmp_path / "first", 5)
    second = write_extra(tmp_path / "second", 3)
    options = training_options(write_camvid(4), f"{first}:0.4", f"{second}:2")
    data, plan = options.build_train_set(None, None, seed=0)
    assert isinstance(data, JoinedDataset)
    assert (len(data), len(plan)) == (12, 4 + 2 + 6)
    assert plan.describe(CLASSES) == [
        "an epoch draws 12 samples, 4 of them from CamVid (SegNet, 11 classes) train",
        f"  and 2 from the 5 images of {first} train",
        f"  and 6 from the 3 images of {second} train"]
    for index, name, value, label in ((4, "x0", 100, 0), (8, "x4", 104, 1), (9, "x0", 100, 0),
                                      (11, "x2", 102, 2)):
        sample = data[index]
        assert sample["name"] == name
        assert (sample["image"] == value).all() and (sample["label"] == label).all()
    assert data[3]["name"] == "train_3"


def test_a_source_goes_with_coarse_images_and_a_packed_copy(tmp_path: Path) -> None:
    parts = []
    for name, count in (("a", 2), ("b", 3)):
        spec = datasets.spec(str(write_extra(tmp_path / name, count)))
        parts.append(datasets.build(spec, None, "train"))
    joined = JoinedDataset(*parts)
    extra = ExtraData(parts[1].spec, "train")
    data, plan = mix(joined, EpochPlan(2, 0), [extra], [parts[1]])
    assert len(data) == 8 and len(plan) == 5
    assert {draw.index for draw in plan.draws(0)} == {0, 1, 5, 6, 7}
    assert [data[index]["name"] for index in range(8)] == ["x0", "x1", *["x0", "x1", "x2"] * 2]


def test_without_extra_data_nothing_changes(write_camvid: WriteCamvid) -> None:
    data, plan = training_options(write_camvid(4)).build_train_set(None, None, seed=2)
    assert isinstance(data, datasets.SegmentationDataset)
    assert plan.draws(1) == EpochPlan(4, 2).draws(1)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    swapped = (CLASSES[1], CLASSES[0], *CLASSES[2:])
    for number, (names, message) in enumerate((
            (swapped, "has other classes than camvid: train id 0 is Building, not Sky"),
            (CLASSES[:-1], "has other classes than camvid: 10 classes, not 11"))):
        path = write_extra(tmp_path / str(number), names=names)
        with pytest.raises(datasets.DatasetError, match=message):
            training_options(tmp_path, str(path))


@pytest.mark.parametrize(("suffix", "message"), [
    (":0", "the weight 0 is out of range: give a number above 0"),
    (":-1", "the weight -1 is out of range"), (":nan", "the weight nan is out of range"),
    (":inf", "the weight inf is out of range"),
    (":tran", "has no split 'tran', did you mean 'train'"),
])
def test_an_invalid_weight_or_split_is_refused(tmp_path: Path, suffix: str, message: str) -> None:
    path = write_extra(tmp_path / "extra")
    with pytest.raises(datasets.DatasetError, match=message):
        ExtraData.parse(f"{path}{suffix}")


def test_a_split_without_labels_is_refused_with_the_way_to_labels() -> None:
    with pytest.raises(datasets.DatasetError, match=r"--extra_data idd_lite test has no labels to "
                                                    r"train on: label .* tools\.pseudo_label"):
        ExtraData.parse("idd_lite:test:0.5")


def test_a_weight_that_draws_nothing_is_refused_with_one_that_draws(
        write_camvid: WriteCamvid, tmp_path: Path) -> None:
    path = write_extra(tmp_path / "extra", 5)
    options = training_options(write_camvid(4), f"{path}:0.05")
    with pytest.raises(datasets.DatasetError, match=r"the weight 0.05 of 5 images draws none in an "
                                                    r"epoch: give at least 0\.2"):
        options.build_train_set(None, None, seed=0)
    assert ExtraData.parse(f"{path}:0.2").draws(5) == 1


def test_a_missing_file_or_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(datasets.DatasetError, match=r"^--extra_data .*gone\.yaml cannot be read"):
        ExtraData.parse(f"{tmp_path}/gone.yaml:0.5")
    with pytest.raises(datasets.DatasetError, match="unknown dataset 'camvids'"):
        ExtraData.parse("camvids:0.5")
    spec = replace(datasets.spec(str(write_extra(tmp_path / "extra"))), root=None)
    with pytest.raises(datasets.DatasetError, match="the YAML file has no root: add the line"):
        ExtraData(spec, "train").build("elsewhere", None, None)


def test_a_run_goes_on_with_the_same_images_from_any_folder(
        write_camvid: WriteCamvid, tmp_path: Path) -> None:
    root, folder = write_camvid(4), tmp_path / "extra"
    path = write_extra(folder, 4)

    def described(*extra: str) -> list[dict[str, Any]]:
        data, plan = training_options(root, *extra).build_train_set(None, None, seed=0)
        return describe_sources(plan, data)

    state = {"sampler": {"sources": described(f"{path}:0.5")}}
    moved = folder.rename(tmp_path / "moved") / path.name
    check_same_sources(state, described(f"{moved}:train:0.5"), tmp_path / "run")
    check_same_sources(None, described(str(moved)), tmp_path / "run")
    # a checkpoint of a version without extra images
    check_same_sources({"sampler": {}}, [], tmp_path / "run")
    with pytest.raises(datasets.DatasetError, match=r"train, and no dataset when the run"):
        check_same_sources({"sampler": {}}, described(str(moved)), tmp_path / "run")

    def difference(*extra: str) -> str:
        with pytest.raises(datasets.DatasetError) as found:
            check_same_sources(state, described(*extra), tmp_path / "run")
        message, _, advice = str(found.value).partition(f" when the run in {tmp_path}/run began: ")
        assert advice.startswith("give the images that it began with, from any folder")
        return message

    assert difference() == f"--extra_data names no dataset, and {path} train"
    assert difference(str(moved)) == (f"--extra_data {moved} train has the weight 1, and "
                                      f"{path} train had 0.5")
    for kind in ("images", "labels"):
        (tmp_path / "moved" / kind / "x1.png").rename(tmp_path / "moved" / kind / "x9.png")
    assert difference(f"{moved}:0.5") == (f"--extra_data {moved} train has images of other names, "
                                          f"or in another order, than {path} train")
    for kind in ("images", "labels"):
        (tmp_path / "moved" / kind / "x9.png").unlink()
    assert difference(f"{moved}:0.5") == (f"--extra_data {moved} train has 3 images, and {path} "
                                          "train had 4")


def test_images_of_the_validation_are_told(write_camvid: WriteCamvid, tmp_path: Path) -> None:
    root, path = write_camvid(3), write_extra(tmp_path / "extra", 2)
    (path.parent / "images/x0.png").unlink()
    (path.parent / "images/x0.png").symlink_to(root / "val/val_1.png")
    for extra, count in (((), 0), ((str(path),), 1)):
        options = training_options(root, *extra)
        data, plan = options.build_train_set(None, None, seed=0)
        message = seen_in_validation(plan, data, options.build_val_set())
        expected = ("--extra_data has 1 of the images of CamVid (SegNet, 11 classes) val, on "
                    "which the run is validated: its scores will be too high")
        assert message == (expected if count else "")
        assert seen_in_validation(plan, data, None) == ""
