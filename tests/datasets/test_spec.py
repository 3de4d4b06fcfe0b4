"""A dataset table gives palette, lookup and class count, and refuses to contradict itself."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datasets
from datasets.layout import Layout
from datasets.spec import UNKNOWN, ClassInfo, DatasetSpec, rgb_to_int
from utils import IGNORE_LABEL

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(classes: tuple[ClassInfo, ...], ignored: tuple[int, ...] = (255,)) -> DatasetSpec:
    layouts = (Layout("{split}/*{suffix}", "{split}/*.png"),)
    return DatasetSpec(
        name="tiny",
        title="Tiny",
        classes=classes,
        layouts=layouts,
        splits={"train": ("train",)},
        hint="anywhere",
        ignored_raw_ids=ignored,
    )


def test_train_id_is_the_position_in_the_table() -> None:
    spec = table(
        (ClassInfo("a", (1, 2, 3), raw_ids=(7, 9)), ClassInfo("b", (4, 5, 6), raw_ids=(8,))),
        ignored=(3, 255),
    )
    assert spec.num_classes == 2
    assert spec.names == ("a", "b")
    assert [spec.lookup[raw_id] for raw_id in (7, 9, 8, 3, 255, 0)] == [
        0,
        0,
        1,
        IGNORE_LABEL,
        IGNORE_LABEL,
        UNKNOWN,
    ]
    assert spec.palette.shape == (256, 3)
    assert spec.palette[:3].tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0]]


def test_without_raw_ids_the_files_hold_train_ids() -> None:
    spec = table((ClassInfo("a", (1, 2, 3)), ClassInfo("b", (4, 5, 6))))
    assert spec.lookup[:3].tolist() == [0, 1, UNKNOWN]


@pytest.mark.parametrize("name", datasets.names())
def test_raw_ids_survive_the_way_to_train_ids_and_back(name: str) -> None:
    spec = datasets.spec(name)
    train_ids = np.array([*range(spec.num_classes), IGNORE_LABEL], np.uint8)
    raw = spec.to_raw_ids[train_ids]
    if spec.colors:
        raw = np.array([rgb_to_int(tuple(rgb)) for rgb in raw.tolist()], np.uint32)
    assert (spec.to_train_ids(raw[None]) == train_ids).all()


@pytest.mark.parametrize("name", datasets.names())
def test_tables_reach_worker_processes(name: str) -> None:
    spec = datasets.spec(name)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_raw_id_of_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tiny: raw ids \[7\] are listed twice"):
        table((ClassInfo("a", (0, 0, 0), raw_ids=(7,)), ClassInfo("b", (0, 0, 0), raw_ids=(7,))))


def test_a_raw_id_of_a_class_that_is_also_ignored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"raw ids \[7\] are listed twice"):
        table((ClassInfo("a", (0, 0, 0), raw_ids=(7,)),), ignored=(7,))


@pytest.mark.parametrize("count", [0, 255])
def test_an_empty_or_overlong_table_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 254 classes, not {count}"):
        table(tuple(ClassInfo(str(index), (0, 0, 0)) for index in range(count)))


@FAST
@given(data=st.data(), kind=st.sampled_from(["8 bits", "16 bits", "colors"]))
def test_every_raw_id_becomes_what_the_table_says(data: st.DataObject, kind: str) -> None:
    most, dtype = {
        "8 bits": (255, np.uint8),
        "16 bits": (0xFFFF, np.uint16),
        "colors": (0xFFFFFF, np.uint32),
    }[kind]
    ids = data.draw(st.lists(st.integers(0, most), min_size=2, max_size=12, unique=True))
    cut = data.draw(st.integers(1, len(ids) - 1))
    groups = [(raw_id,) for raw_id in ids[: cut - 1]] + [
        tuple(ids[cut - 1 : cut + 1])
    ]  # the last class has two
    ignored = tuple(ids[cut + 1 :])
    spec = DatasetSpec(
        name="any",
        title="Any",
        layouts=(),
        splits={},
        hint="",
        colors=kind == "colors",
        classes=tuple(
            ClassInfo(str(place), (0, 0, 0), group) for place, group in enumerate(groups)
        ),
        ignored_raw_ids=ignored,
    )
    expected = {
        raw_id: place for place, group in enumerate(groups) for raw_id in group
    } | dict.fromkeys(ignored, IGNORE_LABEL)
    raw = data.draw(st.lists(st.sampled_from(ids) | st.integers(0, most), min_size=1, max_size=30))
    train_ids = spec.to_train_ids(np.array([raw], dtype))
    assert train_ids.dtype == np.uint8
    assert train_ids.tolist() == [[expected.get(raw_id, UNKNOWN) for raw_id in raw]]


def test_without_labels_no_split_has_any() -> None:
    for name in ("cityscapes", "uds"):
        spec = datasets.spec(name).without_labels()
        assert set(spec.unlabeled) == set(spec.splits) and spec.names == datasets.spec(name).names
        assert all(set(part.unlabeled) == set(part.splits) for _, part in spec.parts)
