"""One's own data in one YAML file: what it can say, and an answer to everything that it cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import datasets
from datasets.spec import DatasetError
from datasets.yaml_spec import from_description

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "rgb", "id", "ids", "folder", "list", "match", "label_rgbs", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
GOOD: dict[str, Any] = {
    "name": "a",
    "images": "{split}/*.png",
    "labels": "l/*.png",
    "classes": [{"name": "a", "rgb": [1, 2, 3]}],
}

ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {
    "images": "{split}/*.png",
    "labels": "{split}annot/*.png",
    "classes": [{"name": "road", "rgb": [128, 64, 128]}, {"name": "car", "rgb": [0, 0, 142]}],
}
Describe = Callable[..., Path]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Returns a function that writes BASE with changes to my.yaml; None removes a key."""

    def write(**changes: object) -> Path:
        content = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def write_pair(root: Path, image: str, label: str, pixels: np.ndarray) -> None:
    for path, array in (
        (root / image, np.full((*pixels.shape[:2], 3), 90, np.uint8)),
        (root / label, pixels),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array)


def ids(*values: int, dtype: type = np.uint8) -> np.ndarray:
    return np.array([values], dtype)


# what it can say


def test_the_example_is_camvid(camvid_root: Path) -> None:
    ours, theirs = (
        datasets.spec(str(ROOT / "datasets/examples/camvid_hires.yaml")),
        datasets.spec("camvid"),
    )
    assert [(label.name, label.rgb) for label in ours.classes] == [
        (label.name, label.rgb) for label in theirs.classes
    ]
    assert (ours.name, ours.crop_size) == ("camvid_hires", (720, 960))
    assert [*ours.splits] == ["train", "val", "test", "trainval"]
    assert len(datasets.build(ours, camvid_root, "val")) == 101


def test_the_little_that_is_needed_is_enough(describe: Describe, tmp_path: Path) -> None:
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", ids(0, 1, 255))
    spec = datasets.spec(str(describe()))
    assert (spec.name, spec.crop_size, spec.root) == ("my", (512, 512), None)
    assert datasets.build(spec, tmp_path, "train")[0]["label"].tolist() == [[0, 1, 255]]


def test_a_root_counts_from_the_file_and_is_overridden(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path / "data", "train/a.png", "trainannot/a.png", ids(0))
    write_pair(tmp_path / "other", "train/b.png", "trainannot/b.png", ids(0))
    path = describe(root="data")
    monkeypatch.chdir("/")
    assert [sample.name for sample in datasets.build(str(path), None, "train").samples] == ["a"]
    assert [
        sample.name for sample in datasets.build(str(path), tmp_path / "other", "train").samples
    ] == ["b"]


def test_several_ids_become_a_class_and_16_bits_are_read(
    describe: Describe, tmp_path: Path
) -> None:
    write_pair(
        tmp_path, "train/a.png", "trainannot/a.png", ids(7000, 8, 9, 1, 300, dtype=np.uint16)
    )
    classes = [
        {"name": "road", "rgb": [1, 2, 3], "ids": [7000, 8]},
        {"name": "car", "rgb": [4, 5, 6], "id": 9},
    ]
    data = datasets.build(str(describe(classes=classes, ignored_ids=[1, 300])), tmp_path, "train")
    assert data[0]["label"].tolist() == [[0, 0, 1, 255, 255]]
    assert data.spec.to_raw_ids[[0, 1]].tolist() == [7000, 9]


def test_colors_are_labels_where_it_says_so(describe: Describe, tmp_path: Path) -> None:
    rgb = np.array([[[128, 64, 128], [1, 2, 3], [0, 0, 142], [0, 0, 0]]], np.uint8)
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", rgb[..., ::-1])
    classes = [
        {**BASE["classes"][0], "label_rgbs": [[128, 64, 128], [1, 2, 3]]},
        BASE["classes"][1],
    ]
    path = describe(label_format="rgb", ignored_rgbs=[[0, 0, 0]], classes=classes)
    assert datasets.build(str(path), tmp_path, "train")[0]["label"].tolist() == [[0, 0, 1, 255]]


def test_splits_are_folders_globs_lists_and_sums(describe: Describe, tmp_path: Path) -> None:
    for stem in ("a_1", "a_2", "b_1", "b_2"):
        write_pair(tmp_path, f"all/{stem}.png", f"allannot/{stem}.png", ids(0))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/val.txt").write_text("b_1\n\nall/b_2.png\n")
    path = describe(
        splits={
            "whole": "all",
            "train": {"folder": "all", "match": "a_*"},
            "val": {"folder": "all", "list": "lists/val.txt"},
            "first": {"folder": "all", "match": "all/?_1.png"},
            "both": ["val", "first"],
        }
    )
    expected = {
        "whole": ["a_1", "a_2", "b_1", "b_2"],
        "train": ["a_1", "a_2"],
        "val": ["b_1", "b_2"],
        "first": ["a_1", "b_1"],
        "both": ["b_1", "b_2", "a_1", "b_1"],
        "trainval": ["a_1", "a_2", "b_1", "b_2"],
    }
    spec = datasets.spec(str(path))
    assert {
        split: [sample.image.stem for sample in datasets.build(spec, tmp_path, split).samples]
        for split in spec.splits
    } == expected


def test_stars_for_folders_of_any_depth(describe: Describe, tmp_path: Path) -> None:
    for folder in ("", "x/", "x/y/"):
        write_pair(tmp_path, f"train/{folder}1.png", f"labels/train/{folder}1_id.png", ids(0))
    data = datasets.build(
        str(describe(images="{split}/**/*{suffix}", labels="labels/{split}/**/*_id.png")),
        tmp_path,
        "train",
    )
    assert [sample.name for sample in data.samples] == ["1", "x_1", "x_y_1"]
    assert data[2]["label"].tolist() == [[0]]


def test_a_description_that_was_kept_makes_the_same_table(describe: Describe) -> None:
    spec = datasets.spec(str(describe(root="data", mean=[0.1, 0.2, 0.3])))
    again = datasets.spec(spec.description or "")
    assert (again.classes, again.root, again.mean, again.name) == (
        spec.classes,
        spec.root,
        spec.mean,
        "my",
    )


@pytest.mark.parametrize("key", ["unlabeled", "unlabelled"])
def test_both_spellings_name_the_splits_without_labels(describe: Describe, key: str) -> None:
    splits = {"train": "train", "test": "test"}
    assert datasets.spec(str(describe(splits=splits, **{key: ["test"]}))).unlabeled == ("test",)


def test_only_one_of_the_spellings_may_be_given(describe: Describe) -> None:
    with pytest.raises(
        DatasetError, match="unlabelled: is the older spelling of unlabeled: give one"
    ):
        datasets.spec(str(describe(unlabeled=[], unlabelled=[])))


# what it cannot say


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imagse": "x"}, r"my\.yaml: imagse: unknown key, did you mean 'images'"),
        ({"labels": None}, r"my\.yaml: labels: is missing"),
        ({"classes": []}, r"my\.yaml: classes: is empty"),
        (
            {
                "classes": [
                    {"name": "road", "rgb": [1, 2, 3], "id": 4},
                    {"name": "car", "rgb": [1, 2, 4], "id": 4},
                ]
            },
            r"my\.yaml: classes: id 4 belongs to both road and car",
        ),
        (
            {"classes": [BASE["classes"][0], BASE["classes"][0]]},
            r"my\.yaml: classes: two classes are called 'road'",
        ),
        (
            {"classes": [{"name": "road", "rgb": [1, 2, 3], "color": 4}]},
            r"my\.yaml: classes\[0\]\.color: unknown key",
        ),
        (
            {"classes": [{"name": "road", "rgb": [1, 2, 256]}]},
            r"my\.yaml: classes\[0\]\.rgb: must be a list of three",
        ),
        ({"classes": [{"name": "road"}]}, r"my\.yaml: classes\[0\]\.rgb: must be"),
        ({"classes": [{"rgb": [1, 2, 3]}]}, r"my\.yaml: classes\[0\]\.name: must be text"),
        (
            {"classes": [{"name": "road", "rgb": [1, 2, 3], "id": "4"}]},
            r"classes\[0\]\.id: must be a whole number from 0 to 65535, not '4'",
        ),
        (
            {"classes": [{"name": "road", "rgb": [1, 2, 3], "ids": []}]},
            r"classes\[0\]\.ids: is empty",
        ),
        ({"classes": ["road"]}, r"classes\[0\]: must be a class such as"),
        (
            {"ignored_ids": [0]},
            r"my\.yaml: ignored_ids: 0 belongs to road: remove it there or here",
        ),
        (
            {"label_format": "rgb", "ignored_rgbs": [[0, 0, 142]]},
            r"ignored_rgbs: \(0, 0, 142\) belongs to car",
        ),
        (
            {"classes": [{"name": False, "rgb": [1, 2, 3]}]},
            r"classes\[0\]\.name: must be text, not False: .* quotes",
        ),
        ({"ignored_ids": 0}, r"my\.yaml: ignored_ids: must be a list of whole numbers"),
        (
            {"ignored_ids": [70000]},
            r"my\.yaml: ignored_ids: must be a list of whole numbers from 0 to 65535",
        ),
        (
            {"ignored_rgbs": []},
            r"my\.yaml: ignored_rgbs: does not go with label_format ids: use ignored_ids",
        ),
        ({"label_format": "rbg"}, r"my\.yaml: label_format: unknown 'rbg', did you mean 'rgb'"),
        ({"mean": [124, 116, 104]}, r"my\.yaml: mean: must be a list of three numbers in \[0, 1\]"),
        ({"std": [0.1, 0, 0.1]}, r"my\.yaml: std: .* not 0"),
        ({"crop_size": "720"}, r"my\.yaml: crop_size: must be a list of two whole numbers"),
        ({"splits": {}}, r"my\.yaml: splits: must name at least one split"),
        (
            {"splits": {"train": {"fold": "x"}}},
            r"my\.yaml: splits\.train\.fold: unknown key, did you mean 'folder'",
        ),
        (
            {"splits": {"train": {"match": "*", "list": "x"}}},
            r"splits\.train\.list: give either match or list",
        ),
        ({"splits": {"train": 3}}, r"splits\.train: must be a folder"),
        (
            {"unlabelled": ["tset"], "splits": {"test": "test"}},
            r"unlabelled: there is no split 'tset', did you mean 'test'",
        ),
        ({"images": "/data/*.png"}, r"images: '/data/\*\.png' must be a path below root"),
        ({"images": "{folder}/*.png"}, r"images: .* holds \{folder\}"),
        ({"images": "train/[ab].png"}, r"images: .*the only wildcards are \* and \*\*/"),
        ({"images": "train/a.png"}, r"labels: .* must have the wildcards of images"),
        (
            {"images": "{split}/*/*.png"},
            r"labels: '\{split\}annot/\*\.png' has fewer wildcards than images",
        ),
        (
            {"images": "{split}/*"},
            r"images: '\{split\}/\*' must end in \{suffix\} or one of \.png, \.jpg",
        ),
        ({"labels": "{split}annot/*.jpg"}, r"labels: .* must end in \.png: JPEG changes the ids"),
        ({"name": "a/b"}, r"name: 'a/b' becomes part of file names"),
        ({"root": 3}, r"root: must be text"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_key(
    describe: Describe, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        datasets.spec(str(describe(**changes)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"empty\.yaml holds no keys"),
        ("- a", r"empty\.yaml holds no keys"),
        ("a: [", r"empty\.yaml is not YAML: .*line 1"),
        (
            "splits: {train: a, train: b}",
            r"empty\.yaml is not YAML: the key 'train' is repeated .*line 1, column 20",
        ),
    ],
)
def test_a_file_that_is_no_description_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        datasets.spec(str(path))


def test_a_file_that_is_missing_says_so() -> None:
    with pytest.raises(
        DatasetError, match=r"--dataset nowhere\.yaml cannot be read \(No such file"
    ):
        datasets.spec("nowhere.yaml")


def test_an_id_outside_the_file_gives_the_line_to_write(describe: Describe, tmp_path: Path) -> None:
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", ids(0, 1, 9, 9, 3))
    data = datasets.build(str(describe()), tmp_path, "train")
    with pytest.raises(
        DatasetError,
        match=r"a\.png holds ids that my does not name: 9 \(2 pixels\), 3 \(1 pixel\)\. "
        r".*my\.yaml: ignored_ids: \[255, 3, 9\]$",
    ) as refused:
        data[0]
    line = str(refused.value)[str(refused.value).index("ignored_ids") :]
    data = datasets.build(str(describe(**yaml.safe_load(line))), tmp_path, "train")
    assert data[0]["label"].tolist() == [[0, 1, 255, 255, 255]]


def test_a_color_outside_the_file_gives_the_line_to_write(
    describe: Describe, tmp_path: Path
) -> None:
    rgb = np.array([[[128, 64, 128], [9, 8, 7], [9, 8, 7]]], np.uint8)
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", rgb[..., ::-1])
    data = datasets.build(
        str(describe(label_format="rgb", ignored_rgbs=[[0, 0, 0]])), tmp_path, "train"
    )
    with pytest.raises(
        DatasetError,
        match=r"a\.png holds colors that my does not name: \(9, 8, 7\) \(2 pixels\)\. "
        r".*ignored_rgbs: \[\[0, 0, 0\], \[9, 8, 7\]\]$",
    ):
        data[0]


def test_colors_where_ids_belong_point_at_the_label_format(
    describe: Describe, tmp_path: Path
) -> None:
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"3 channel\(s\) of 8 bits.*label_format: rgb"):
        datasets.build(str(describe()), tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\nzz\n", r"list\.txt, line 2: 'zz' names none of the 1 images"),
        ("\n", r"list\.txt names no image"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(
    describe: Describe, tmp_path: Path, lines: str, message: str
) -> None:
    write_pair(tmp_path, "train/a.png", "trainannot/a.png", ids(0))
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(DatasetError, match=message):
        datasets.build(str(describe(splits={"train": {"list": "list.txt"}})), tmp_path, "train")


@settings(FAST, max_examples=300)
@given(
    key=st.sampled_from(
        [
            "name",
            "title",
            "root",
            "images",
            "labels",
            "label_format",
            "classes",
            "ignored_ids",
            "ignored_rgbs",
            "mean",
            "std",
            "crop_size",
            "splits",
            "unlabelled",
            "else",
            3,
        ]
    ),
    value=ANYTHING,
    rgb=st.booleans(),
)
@example(key="splits", value={1: "train"}, rgb=False)
@example(key="classes", value=[{"name": "a", "rgb": [1, 2, 3], "id": True}], rgb=False)
@example(
    key="classes",
    value=[{"name": str(number), "rgb": [1, 2, 3]} for number in range(255)],
    rgb=False,
)
def test_a_description_is_a_table_or_an_error_that_names_the_file(
    key: Any, value: object, rgb: bool
) -> None:
    content = {**GOOD, "label_format": "rgb" if rgb else "ids", key: value}
    message = ""
    try:
        spec = from_description(content, "my.yaml")
        assert len(spec.palette) == len(spec.to_raw_ids) == 256
    except DatasetError as error:
        message = str(error)
    assert not message or message.startswith("my.yaml: ")


def test_groups_of_correlated_images_are_described_by_a_pattern(describe: Describe) -> None:
    spec = datasets.spec(str(describe(group="^([^/]+)_", block=5)))
    assert (spec.group, spec.block) == ("^([^/]+)_", 5)
    assert datasets.spec(str(describe())).group == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": "("}, r"group: '\(' is no regular expression"),
        ({"group": "a_b"}, "group: 'a_b' must have one pair of parentheses"),
        ({"group": 3}, "group: must be text, not 3"),
        ({"block": 5}, "block: must be a number of images of one group, which the key group"),
        ({"group": "(a)", "block": 0}, "block: must be a number of images .* not 0"),
        ({"group": "(a)", "block": True}, "block: must be a number of images .* not True"),
    ],
)
def test_a_pattern_that_finds_no_group_is_refused(
    describe: Describe, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        datasets.spec(str(describe(**changes)))
