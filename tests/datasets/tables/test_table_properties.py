"""Laws that hold for every table, every description and every set of folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datasets.layout import Fold, ImageMatch, Indices, Layout
from datasets.listing import _fill, _match
from datasets.sampling import SampleDraw
from datasets.spec import UNKNOWN, ClassInfo, DatasetError, DatasetSpec
from datasets.yaml_spec import from_description
from utils import IGNORE_LABEL

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FAST
@given(data=st.data(), kind=st.sampled_from(["8 bits", "16 bits", "colors"]))
def test_every_raw_id_becomes_what_the_table_says(data: st.DataObject, kind: str) -> None:
    most, dtype = {"8 bits": (255, np.uint8), "16 bits": (0xFFFF, np.uint16), "colors": (0xFFFFFF, np.uint32)}[kind]
    ids = data.draw(st.lists(st.integers(0, most), min_size=2, max_size=12, unique=True))
    cut = data.draw(st.integers(1, len(ids) - 1))
    groups = [(raw_id,) for raw_id in ids[:cut - 1]] + [tuple(ids[cut - 1:cut + 1])]      # the last class has two
    ignored = tuple(ids[cut + 1:])
    spec = DatasetSpec(name="any", title="Any", layouts=(), splits={}, hint="", colors=kind == "colors",
                       classes=tuple(ClassInfo(str(place), (0, 0, 0), group) for place, group in enumerate(groups)),
                       ignored_raw_ids=ignored)
    truth = {raw_id: place for place, group in enumerate(groups) for raw_id in group} | dict.fromkeys(ignored, IGNORE_LABEL)
    raw = data.draw(st.lists(st.sampled_from(ids) | st.integers(0, most), min_size=1, max_size=30))
    found = spec.to_train_ids(np.array([raw], dtype))
    assert found.dtype == np.uint8
    assert found.tolist() == [[truth.get(raw_id, UNKNOWN) for raw_id in raw]]


NAMES = st.text("abz09_.-", min_size=1, max_size=6).filter(lambda name: not name.startswith("."))


@FAST
@given(folders=st.lists(NAMES, max_size=3), city=NAMES, stem=NAMES)
def test_an_image_names_its_label_whatever_the_names_are(tmp_path_factory: pytest.TempPathFactory, folders: list[str],
                                                         city: str, stem: str) -> None:
    root = tmp_path_factory.mktemp("tree")
    layout = Layout("{split}/**/*-x/*_img{suffix}", "labels/{split}/**/*/*_id.png")
    image = root.joinpath("train", *folders, f"{city}-x", f"{stem}_img.png")
    image.parent.mkdir(parents=True)
    image.touch()
    found = [one for one in _match(layout, root, "train") if one.image == image]
    assert len(found) == 1
    label = _fill(layout.labels.replace("{split}", "train"), found[0].wildcards)
    assert label == "/".join(["labels/train", *folders, city, f"{stem}_id.png"])


@FAST
@given(val=st.integers(1, 5), train=st.integers(1, 12), folds=st.integers(1, 4), data=st.data())
def test_a_fold_parts_the_images_and_holds_out_as_many_groups_as_val_has(val: int, train: int, folds: int,
                                                                         data: st.DataObject) -> None:
    fold = data.draw(st.integers(0, folds - 1))
    found = [ImageMatch(folder, (f"{folder}{number}", str(image)), Path("x"))
             for folder, count in (("val", val), ("train", train)) for number in range(count) for image in range(2)]
    held_out, kept = (Fold(fold, folds, which)(Path(), found) for which in (True, False))
    assert sorted([*held_out, *kept]) == sorted(found)
    assert len({one.wildcards[0] for one in held_out}) == val
    if fold == 0:
        assert {one.folder for one in held_out} == {"val"}


@FAST
@given(places=st.sets(st.integers(0, 19), min_size=1))
def test_indices_and_the_others_part_the_images(places: set[int]) -> None:
    found = [ImageMatch("", (str(number),), Path("x")) for number in range(20)]
    chosen, others = (Indices(tuple(places), but)(Path(), found) for but in (False, True))
    assert [int(one.wildcards[0]) for one in chosen] == sorted(places)
    assert len(chosen) + len(others) == 20


@FAST
@given(seed=st.integers(0, 2 ** 40), epoch=st.integers(0, 999), position=st.integers(0, 10 ** 6))
def test_what_takes_a_place_depends_on_seed_epoch_and_position_alone(seed: int, epoch: int, position: int) -> None:
    one, other = (SampleDraw(index, seed, epoch, position, focus).substitutes(1000)
                  for index, focus in ((3, None), (7, (1, 2))))
    first = [next(one) for _ in range(5)]
    assert first == [next(other) for _ in range(5)]
    assert {(draw.seed, draw.epoch, draw.position, draw.focus) for draw in first} == {(seed, epoch, position, None)}


ANYTHING = st.recursive(st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=4),
                        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                            st.sampled_from(["name", "rgb", "id", "ids", "folder", "list", "match", "label_rgbs", "x"]),
                            inner, max_size=3), max_leaves=8)
GOOD: dict[str, Any] = {"name": "a", "images": "{split}/*.png", "labels": "l/*.png",
                        "classes": [{"name": "a", "rgb": [1, 2, 3]}]}


@settings(FAST, max_examples=300)
@given(key=st.sampled_from(["name", "title", "root", "images", "labels", "label_format", "classes", "ignored_ids",
                            "ignored_rgbs", "mean", "std", "crop_size", "splits", "unlabelled", "else", 3]),
       value=ANYTHING, rgb=st.booleans())
@example(key="splits", value={1: "train"}, rgb=False)
@example(key="classes", value=[{"name": "a", "rgb": [1, 2, 3], "id": True}], rgb=False)
@example(key="classes", value=[{"name": str(number), "rgb": [1, 2, 3]} for number in range(255)], rgb=False)
def test_a_description_is_a_table_or_an_error_that_names_the_file(key: Any, value: object, rgb: bool) -> None:
    content = {**GOOD, "label_format": "rgb" if rgb else "ids", key: value}
    said = ""
    try:
        spec = from_description(content, "my.yaml")
        assert len(spec.palette) == len(spec.to_raw_ids) == 256
    except DatasetError as error:
        said = str(error)
    assert not said or said.startswith("my.yaml: ")
