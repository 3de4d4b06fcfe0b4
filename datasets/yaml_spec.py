"""Reads the spec of a dataset from a YAML file, whose keys DATASETs.md lists."""
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from datasets.layout import Choose, Layout, Listed, Matching, Subset
from datasets.listing import IMAGE_SUFFIXES
from datasets.spec import (
    RGB,
    ClassInfo,
    DatasetError,
    DatasetSpec,
    int_to_rgb,
    rgb_to_int,
)
from utils import IGNORE_LABEL
from utils.cli import suggest

SUFFIXES = (".yaml", ".yml")
# "unlabelled" is the older spelling of "unlabeled"
KEYS = (
    "name", "title", "root", "images", "labels", "label_format", "classes", "ignored_ids",
    "ignored_rgbs", "mean", "std", "crop_size", "splits", "unlabeled", "unlabelled",
    "group", "block",
)
REQUIRED = ("images", "labels", "classes")
CLASS_KEYS = ("name", "rgb", "id", "ids", "label_rgbs", "category")
SPLIT_KEYS = ("folder", "match", "list")
LABEL_FORMATS = ("ids", "rgb")
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jxl", ".avif", ".heic",
                  ".heif")
DEFAULT_SPLITS = {"train": "train", "val": "val"}
DEFAULT_CROP_SIZE = [512, 512]


def from_yaml(path: str | Path, flag: str = "--dataset") -> DatasetSpec:
    """Returns the spec that a YAML file describes. A relative `root` starts at the file's folder.

    Args:
        flag: gave the path; named in the message if the file cannot be read.

    Raises:
        DatasetError: the file is missing, is not YAML, or is invalid; names the file and the key.
    """
    path = Path(path).expanduser()
    try:
        # _Loader is a SafeLoader
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise DatasetError(
            f"{flag} {path} cannot be read ({error.strerror}): give a YAML file that describes "
            "a dataset, or the name of a dataset (see DATASETs.md).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(content, dict):
        content = {"name": re.sub(r"[^\w.-]", "_", path.stem), **content}
        if isinstance(content.get("root"), str):
            content["root"] = str((path.parent / Path(content["root"]).expanduser()).resolve())
    return from_description(content, str(path))


def from_description(content: Any, source: str) -> DatasetSpec:
    """Returns the spec of a description.

    Args:
        content: content of a YAML file, from the file or from a checkpoint.
        source: name of the file or checkpoint, for messages.

    Raises:
        DatasetError: the description is invalid; the message names source and key.
    """
    return _Parser(source).spec(content)


def describes_same_data(first: Mapping[str, Any] | None,
                        second: Mapping[str, Any] | None) -> bool:
    """Whether two descriptions agree in everything but `root`; None stands for a table in code."""
    return {**(first or {}), "root": None} == {**(second or {}), "root": None}


def check_same_data(state: Mapping[str, Any] | None, spec: DatasetSpec, folder: Path) -> None:
    """Checks that a run is resumed with the dataset that it began with.

    Args:
        state: its checkpoint, None if it has none yet.
        folder: of the run, for the message.

    Raises:
        DatasetError: the description of the dataset has changed.
    """
    if state is not None and not describes_same_data(state.get("description"), spec.description):
        raise DatasetError(
            f"{spec.source or spec.name} has changed since the run in {folder} began, and other "
            "data make another run: restore it, or start a new run under another --exp.")


class _Loader(yaml.SafeLoader):
    """Refuses repeated keys, of which YAML would silently use the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if first.setdefault(str(key.value), key) is not key:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is repeated",
                                           problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


class _Parser:
    """Turns a description into a spec; each error names the source and the key."""

    def __init__(self, source: str) -> None:
        self.source = source

    def refuse(self, key: str, message: str) -> NoReturn:
        raise DatasetError(f"{self.source}: {key}: {message} (see DATASETs.md)")

    def spec(self, content: Any) -> DatasetSpec:
        if not isinstance(content, dict):
            raise DatasetError(f"{self.source} holds no keys: it needs at least "
                               f"{', '.join(REQUIRED)} (see DATASETs.md)")
        self.check_keys(content, KEYS)
        for key in REQUIRED:
            if key not in content:
                self.refuse(key, f"is missing; the required keys are {', '.join(REQUIRED)}")
        name = self.text(content, "name")
        if not re.fullmatch(r"[\w.-]+", name):
            self.refuse("name", f"{name!r} becomes part of file names: use letters, digits, '_', "
                                "'-' and '.'")
        colors = self.has_colors(content)
        classes = self.classes(content["classes"], colors)
        splits = self.splits(content.get("splits", DEFAULT_SPLITS))
        try:
            return DatasetSpec(
                name=name,
                title=self.text(content, "title", name),
                classes=classes,
                layouts=(self.layout(content),),
                splits=splits,
                hint=f"the folder below which {self.source} finds its images",
                unlabeled=self.unlabeled(content, splits),
                ignored_raw_ids=self.ignored(content, classes, colors),
                crop_size=self.crop_size(content.get("crop_size", DEFAULT_CROP_SIZE)),
                mean=self.channels(content, "mean"),
                std=self.channels(content, "std"),
                colors=colors,
                group=self.group(content),
                block=self.block(content),
                root=self.text(content, "root") if "root" in content else None,
                source=self.source,
                description=content,
            )
        except DatasetError:
            raise
        except ValueError as error:
            self.refuse("classes", str(error))

    # values of any key

    def check_keys(self, content: Mapping[Any, Any], keys: Collection[str],
                   prefix: str = "") -> None:
        for key in content:
            if key not in keys:
                suggestion = suggest(str(key), keys) or "."
                self.refuse(f"{prefix}{key}",
                            f"unknown key{suggestion} The keys are: {', '.join(keys)}")

    def text(self, content: Mapping[str, Any], key: str, default: str | None = None,
             prefix: str = "") -> str:
        value = content.get(key, default)
        if not isinstance(value, str) or not value:
            remedy = ": write it in quotes" if isinstance(value, bool | int | float) else ""
            self.refuse(prefix + key, f"must be text, not {value!r}{remedy}")
        return value

    def numbers(self, value: Any, key: str, description: str,
                is_valid: Callable[[Any], bool]) -> list[Any]:
        valid = isinstance(value, list) and all(
            is_valid(number) and not isinstance(number, bool) for number in value)
        if not valid:
            self.refuse(key, f"must be a list of {description}, not {value!r}")
        return value

    def rgb(self, value: Any, key: str) -> RGB:
        color = self.numbers(value, key, "three whole numbers from 0 to 255", _is_byte)
        if len(color) != 3:
            self.refuse(key, f"must be three numbers [red, green, blue], not {value!r}")
        return color[0], color[1], color[2]

    def colors(self, value: Any, key: str) -> tuple[int, ...]:
        if not isinstance(value, list):
            self.refuse(key, f"must be a list of colors, not {value!r}")
        return tuple(rgb_to_int(self.rgb(color, key)) for color in value)

    def id(self, value: Any, key: str) -> int:
        if not _is_id(value):
            self.refuse(key, f"must be a whole number from 0 to 65535, not {value!r}")
        return value

    def ids(self, value: Any, key: str) -> tuple[int, ...]:
        return tuple(self.numbers(value, key, "whole numbers from 0 to 65535", _is_id))

    # images, labels and label_format

    def has_colors(self, content: Mapping[str, Any]) -> bool:
        value = content.get("label_format", LABEL_FORMATS[0])
        if value not in LABEL_FORMATS:
            suggestion = suggest(str(value), LABEL_FORMATS) or "."
            self.refuse("label_format", f"unknown {value!r}{suggestion} It is one of: "
                                        f"{', '.join(LABEL_FORMATS)}")
        colors = value == "rgb"
        right, wrong = "ignored_ids", "ignored_rgbs"
        if colors:
            right, wrong = wrong, right
        if wrong in content:
            self.refuse(wrong, f"does not go with label_format {value}: use {right}")
        return colors

    def layout(self, content: Mapping[str, Any]) -> Layout:
        images, labels = self.text(content, "images"), self.text(content, "labels")
        self.check_pattern("images", images, ("split", "suffix"))
        self.check_pattern("labels", labels, ("split",))
        suffix = Path(images).suffix.lower()
        if not images.endswith("{suffix}") and suffix not in IMAGE_SUFFIXES:
            self.refuse("images", f"{images!r} must end in {{suffix}} or one of "
                                  f"{', '.join(IMAGE_SUFFIXES)}")
        suffix = Path(labels).suffix.lower()
        if suffix in ("", *LOSSY_SUFFIXES):
            format_name = "this format" if suffix not in (".jpg", ".jpeg", "") else "JPEG"
            self.refuse("labels", f"{labels!r} must end in .png: {format_name} changes the ids "
                                  "that it stores")
        self.check_wildcards(images, labels)
        return Layout(images, labels)

    def check_pattern(self, key: str, pattern: str, fields: Collection[str]) -> None:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            self.refuse(key, f"{pattern!r} must be a path below root, without '..'")
        if re.search(r"\*\*(?!/)|[^/]\*\*|[?\[\]]", pattern):
            self.refuse(key, f"{pattern!r}: the only wildcards are * and **/")
        unknown = [name for name in re.findall(r"\{(\w*)\}", pattern) if name not in fields]
        if unknown:
            known = " and ".join(f"{{{name}}}" for name in fields)
            self.refuse(key, f"{pattern!r} holds {{{unknown[0]}}}: use {known} only")

    def check_wildcards(self, images: str, labels: str) -> None:
        """Checks that each image determines its label, and each label its image."""
        of_images, of_labels = (re.findall(r"\*\*/|\*", pattern) for pattern in (images, labels))
        if "*" not in of_images or of_images[:len(of_labels)] != of_labels:
            self.refuse("labels", f"{labels!r} must have the wildcards of images {images!r}, in "
                                  "the same order: their matches in the path of an image name its "
                                  "label")
        if len(of_labels) < len(of_images):
            self.refuse("labels", f"{labels!r} has fewer wildcards than images {images!r}: several "
                                  "images would have the same label")

    # classes

    def classes(self, value: Any, colors: bool) -> tuple[ClassInfo, ...]:
        if not isinstance(value, list) or not value:
            self.refuse("classes", "is empty: list at least one class, such as "
                                   "- {name: road, rgb: [128, 64, 128]}")
        classes = [self.class_info(entry, f"classes[{train_id}]", train_id, colors)
                   for train_id, entry in enumerate(value)]
        self.check_unique(classes, colors)
        return tuple(classes)

    def class_info(self, value: Any, key: str, train_id: int, colors: bool) -> ClassInfo:
        if not isinstance(value, dict):
            self.refuse(key, "must be a class such as {name: road, rgb: [128, 64, 128]}, not "
                             f"{value!r}")
        self.check_keys(value, CLASS_KEYS, f"{key}.")
        name = self.text(value, "name", prefix=f"{key}.")
        rgb = self.rgb(value.get("rgb"), f"{key}.rgb")
        if colors:
            raw_ids = self.class_colors(value, key, rgb)
        else:
            raw_ids = self.class_ids(value, key, train_id)
        category = self.text(value, "category", prefix=f"{key}.") if "category" in value else ""
        return ClassInfo(name, rgb, raw_ids, category)

    def class_colors(self, value: Mapping[str, Any], key: str, rgb: RGB) -> tuple[int, ...]:
        for wrong in ("id", "ids"):
            if wrong in value:
                self.refuse(f"{key}.{wrong}", "does not go with label_format rgb: use label_rgbs")
        colors = self.colors(value.get("label_rgbs", [list(rgb)]), f"{key}.label_rgbs")
        if not colors:
            self.refuse(f"{key}.label_rgbs", "must be a list of colors, not []")
        return colors

    def class_ids(self, value: Mapping[str, Any], key: str, train_id: int) -> tuple[int, ...]:
        if "label_rgbs" in value:
            self.refuse(f"{key}.label_rgbs", "needs label_format: rgb")
        if "id" in value and "ids" in value:
            self.refuse(f"{key}.ids", "give either id or ids")
        if "id" in value:
            return (self.id(value["id"], f"{key}.id"),)
        if "ids" not in value:
            return (train_id,)
        raw_ids = self.ids(value["ids"], f"{key}.ids")
        if not raw_ids:
            self.refuse(f"{key}.ids", "is empty: a class needs at least one id in the label files")
        return raw_ids

    def check_unique(self, classes: Sequence[ClassInfo], colors: bool) -> None:
        users: dict[int, str] = {}
        names: set[str] = set()
        for info in classes:
            if info.name in names:
                self.refuse("classes", f"two classes are called {info.name!r}")
            names.add(info.name)
            for raw_id in info.raw_ids or ():
                if raw_id in users:
                    value = f"rgb {int_to_rgb(raw_id)}" if colors else f"id {raw_id}"
                    self.refuse("classes",
                                f"{value} belongs to both {users[raw_id]} and {info.name}")
                users[raw_id] = info.name

    def ignored(self, content: Mapping[str, Any], classes: Collection[ClassInfo],
                colors: bool) -> tuple[int, ...]:
        users = {raw_id: info.name for info in classes for raw_id in info.raw_ids or ()}
        if colors:
            key = "ignored_rgbs"
            ignored = self.colors(content.get(key, []), key)
        else:
            key = "ignored_ids"
            default = [IGNORE_LABEL] if IGNORE_LABEL not in users else []
            ignored = self.ids(content.get(key, default), key)
        for raw_id in ignored:
            if raw_id in users:
                value = int_to_rgb(raw_id) if colors else raw_id
                self.refuse(key, f"{value} belongs to {users[raw_id]}: remove it there or here")
        return tuple(dict.fromkeys(ignored))

    # mean, std and crop_size

    def channels(self, content: Mapping[str, Any],
                 key: str) -> tuple[float, float, float] | None:
        if key not in content:
            return None
        value = self.numbers(content[key], key, "three numbers in [0, 1]", _is_fraction)
        if len(value) != 3:
            self.refuse(key, "must be three numbers in [0, 1], for red, green and blue; not "
                             f"{value!r}")
        if key == "std" and 0 in value:
            self.refuse(key, "must be three numbers in (0, 1], for red, green and blue, and not 0; "
                             f"not {value!r}")
        return float(value[0]), float(value[1]), float(value[2])

    def crop_size(self, value: Any) -> tuple[int, int]:
        if isinstance(value, int):
            value = [value, value]
        elif isinstance(value, str) and (match := re.fullmatch(r"(\d+)x(\d+)", value)):
            value = [int(match[1]), int(match[2])]
        size = self.numbers(value, "crop_size", "two whole numbers, [height, width]", _is_positive)
        if len(size) != 2:
            self.refuse("crop_size", f"must be [height, width], not {value!r}")
        return size[0], size[1]

    # splits and unlabeled

    def splits(self, value: Any) -> dict[str, tuple[str | Subset, ...]]:
        if not isinstance(value, dict) or not value:
            self.refuse("splits", "must name at least one split, such as {train: train, val: val}")
        splits: dict[str, tuple[str | Subset, ...]] = {}
        for name, entries in value.items():
            key = f"splits.{name}"
            if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name == "none":
                self.refuse(key, "a split is named with letters, digits, '_', '-' and '.', and not "
                                 "'none'")
            if isinstance(entries, list):
                splits[name] = self.entries(entries, name, splits)
            else:
                splits[name] = (self.entry(entries, name),)
            if not splits[name]:
                self.refuse(key, "is empty")
        if "train" in splits and "val" in splits:
            splits.setdefault("trainval", splits["train"] + splits["val"])
        return splits

    def entries(self, values: list[Any], split: str,
                earlier: Mapping[str, tuple[str | Subset, ...]]) -> tuple[str | Subset, ...]:
        """Returns the entries of a split given as a list, which may name earlier splits."""
        entries: tuple[str | Subset, ...] = ()
        for value in values:
            if isinstance(value, str) and value in earlier:
                entries += earlier[value]
            else:
                entries += (self.entry(value, split),)
        return entries

    def entry(self, value: Any, split: str) -> str | Subset:
        if isinstance(value, str):
            return value
        key = f"splits.{split}"
        if not isinstance(value, dict):
            self.refuse(key, f"must be a folder, or a mapping of {', '.join(SPLIT_KEYS)}; not "
                             f"{value!r}")
        self.check_keys(value, SPLIT_KEYS, f"{key}.")
        if "match" in value and "list" in value:
            self.refuse(f"{key}.list", "give either match or list")
        choose: Choose | None = None
        if "match" in value:
            choose = Matching(self.text(value, "match", prefix=f"{key}."))
        if "list" in value:
            choose = Listed((self.text(value, "list", prefix=f"{key}."),))
        return Subset((self.text(value, "folder", split, prefix=f"{key}."),), choose)

    # group and block

    def group(self, content: Mapping[str, Any]) -> str:
        if "group" not in content:
            return ""
        pattern = self.text(content, "group")
        try:
            parentheses = re.compile(pattern).groups
        except re.error as error:
            self.refuse("group", f"{pattern!r} is no regular expression: {error}")
        if parentheses != 1:
            self.refuse("group", f"{pattern!r} must have one pair of parentheses, around the part "
                                 "of an image's path that names its group")
        return pattern

    def block(self, content: Mapping[str, Any]) -> int:
        value = content.get("block", 0)
        if "block" in content and ("group" not in content or isinstance(value, bool)
                                   or not _is_positive(value)):
            self.refuse("block", f"must be a number of images of one group, which the key group "
                                 f"tells, not {value!r}")
        return value

    def unlabeled(self, content: Mapping[str, Any], splits: Collection[str]) -> tuple[str, ...]:
        if "unlabeled" in content and "unlabelled" in content:
            self.refuse("unlabelled", "is the older spelling of unlabeled: give one of the two")
        key = "unlabelled" if "unlabelled" in content else "unlabeled"
        value = content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(split, str) for split in value):
            self.refuse(key, f"must be a list of splits, not {value!r}")
        for split in value:
            if split not in splits:
                suggestion = suggest(split, splits) or "."
                self.refuse(key, f"there is no split {split!r}{suggestion}")
        return tuple(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= 255


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0
