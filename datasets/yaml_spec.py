"""One's own dataset, described by one YAML file: globs, classes, splits. DATASETs.md lists the keys."""
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from datasets.layout import Choose, Layout, Listed, Matching, Subset
from datasets.listing import IMAGE_SUFFIXES
from datasets.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ClassInfo,
    DatasetError,
    DatasetSpec,
    pack,
    unpack,
)
from utils import IGNORE_LABEL
from utils.cli import suggest

SUFFIXES = (".yaml", ".yml")
KEYS = ("name", "title", "root", "images", "labels", "label_format", "classes", "ignored_ids", "ignored_rgbs", "mean",
        "std", "crop_size", "splits", "unlabelled")
REQUIRED = ("images", "labels", "classes")
CLASS_KEYS = ("name", "rgb", "id", "ids", "label_rgbs", "category")
SPLIT_KEYS = ("folder", "match", "list")
LABEL_FORMATS = ("ids", "rgb")
DEFAULT_SPLITS = {"train": "train", "val": "val"}
RGB = tuple[int, int, int]


def from_yaml(path: str | Path) -> DatasetSpec:
    """Returns the table that a YAML file describes. A relative `root` counts from the file's folder.

    Raises:
        DatasetError: the file is missing, is no YAML, or says something that cannot be; the message names file and key.
    """
    path = Path(path).expanduser()
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe one
    except OSError as error:
        raise DatasetError(f"--dataset {path} cannot be read ({error.strerror}): name a YAML file that describes a "
                           "dataset, or one of the datasets by its name (see DATASETs.md).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(content, dict):
        content = {"name": re.sub(r"[^\w.-]", "_", path.stem), **content}
        if isinstance(content.get("root"), str):
            content["root"] = str((path.parent / Path(content["root"]).expanduser()).resolve())
    return from_description(content, str(path))


def from_description(content: Any, source: str) -> DatasetSpec:
    """Returns the table that a description makes.

    Args:
        content: what a YAML file holds, or what a checkpoint kept of it.
        source: where it stands, for messages.

    Raises:
        DatasetError: it says something that cannot be; the message names source and key.
    """
    return _Description(source).spec(content)


def describes_same_data(first: Mapping[str, Any] | None,
                        second: Mapping[str, Any] | None) -> bool:
    """Whether two descriptions agree in everything but `root`; None stands for a table in code."""
    return {**(first or {}), "root": None} == {**(second or {}), "root": None}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if first.setdefault(str(key.value), key) is not key:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


class _Description:
    """Reads a description; every complaint names the source and the key."""

    def __init__(self, source: str) -> None:
        self.source = source

    def refuse(self, key: str, message: str) -> NoReturn:
        raise DatasetError(f"{self.source}: {key}: {message} (see DATASETs.md)")

    def spec(self, content: Any) -> DatasetSpec:
        if not isinstance(content, dict):
            raise DatasetError(f"{self.source} holds no keys: it needs at least {', '.join(REQUIRED)} "
                               "(see DATASETs.md)")
        self.known(content, KEYS, "")
        for key in REQUIRED:
            if key not in content:
                self.refuse(key, "is missing; it must be there, as " + ", ".join(REQUIRED) + " must")
        name = self.text(content, "name")
        if not re.fullmatch(r"[\w.-]+", name):
            self.refuse("name", f"{name!r} becomes part of file names: use letters, digits, '_', '-' and '.'")
        colors = self.choice(content, "label_format", LABEL_FORMATS) == "rgb"
        wrong = "ignored_ids" if colors else "ignored_rgbs"
        if wrong in content:
            self.refuse(wrong, f"does not go with label_format {'rgb' if colors else 'ids'}: use "
                               f"{'ignored_rgbs' if colors else 'ignored_ids'}")
        classes = self.classes(content["classes"], colors)
        splits = self.splits(content.get("splits", DEFAULT_SPLITS))
        try:
            return DatasetSpec(
                name=name, title=self.text(content, "title", name), classes=classes, colors=colors,
                layouts=(self.layout(content),), splits=splits, unlabelled=self.unlabelled(content, splits),
                ignored_raw_ids=self.ignored(content, classes, colors), crop_size=self.crop_size(content),
                mean=self.channels(content, "mean", IMAGENET_MEAN), std=self.channels(content, "std", IMAGENET_STD),
                root=self.text(content, "root") if "root" in content else None, source=self.source,
                hint=f"the folder below which {self.source} finds its images", description=content)
        except DatasetError:
            raise
        except ValueError as error:
            self.refuse("classes", str(error))

    def known(self, content: Mapping[Any, Any], keys: Collection[str], where: str) -> None:
        for key in content:
            if key not in keys:
                near = suggest(str(key), keys) or "."
                self.refuse(f"{where}{key}", f"unknown key{near} The keys are: {', '.join(keys)}")

    def text(self, content: Mapping[str, Any], key: str, default: str | None = None, where: str = "") -> str:
        value = content.get(key, default)
        if not isinstance(value, str) or not value:
            quoted = ": write it in quotes" if isinstance(value, bool | int | float) else ""
            self.refuse(where + key, f"must be text, not {value!r}{quoted}")
        return value

    def choice(self, content: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
        value = content.get(key, choices[0])
        if value not in choices:
            near = suggest(str(value), choices) or "."
            self.refuse(key, f"unknown {value!r}{near} It is one of: {', '.join(choices)}")
        return value

    def numbers(self, value: Any, key: str, what: str, fits: Callable[[Any], bool]) -> list[Any]:
        if not isinstance(value, list) or not all(not isinstance(one, bool) and fits(one) for one in value):
            self.refuse(key, f"must be a list of {what}, not {value!r}")
        return value

    def layout(self, content: Mapping[str, Any]) -> Layout:
        images, labels = self.text(content, "images"), self.text(content, "labels")
        for key, pattern in (("images", images), ("labels", labels)):
            if pattern.startswith("/") or ".." in pattern.split("/"):
                self.refuse(key, f"{pattern!r} must be a path below root, without '..'")
            if re.search(r"\*\*(?!/)|[^/]\*\*|[?\[\]]", pattern):
                self.refuse(key, f"{pattern!r}: of globs, only * and **/ are known")
            suffix = Path(pattern).suffix.lower()
            if key == "images" and not pattern.endswith("{suffix}") and suffix not in IMAGE_SUFFIXES:
                self.refuse(key, f"{pattern!r} must end in {{suffix}} or one of {', '.join(IMAGE_SUFFIXES)}")
            if key == "labels" and suffix in (".jpg", ".jpeg", ""):
                self.refuse(key, f"{pattern!r} must end in .png: JPEG changes the ids that it stores")
            unknown = set(re.findall(r"\{(\w*)\}", pattern)) - {"split", *(("suffix",) if key == "images" else ())}
            if unknown:
                self.refuse(key, f"{pattern!r} holds {{{unknown.pop()}}}: only {{split}}"
                                 f"{' and {suffix} are' if key == 'images' else ' is'} known")
        stars = [re.findall(r"\*\*/|\*", pattern) for pattern in (images, labels)]
        if "*" not in stars[0] or len(stars[1]) > len(stars[0]) or stars[0][:len(stars[1])] != stars[1]:
            self.refuse("labels", f"{labels!r} must have the stars of images {images!r}, in the same order: what they "
                                  "match in an image's path names its label")
        if len(stars[1]) < len(stars[0]):
            self.refuse("labels", f"{labels!r} has fewer stars than images {images!r}: several images would share a "
                                  "label")
        return Layout(images, labels)

    def classes(self, value: Any, colors: bool) -> tuple[ClassInfo, ...]:
        if not isinstance(value, list) or not value:
            self.refuse("classes", "is empty: list at least one class, such as - {name: road, rgb: [128, 64, 128]}")
        labels = [self.label(one, f"classes[{place}]", place, colors) for place, one in enumerate(value)]
        users: dict[Any, str] = {}
        for label in labels:
            for kind, values in (("name", (label.name,)), ("rgb" if colors else "id", label.raw_ids or ())):
                for one in values:
                    if (kind, one) in users:
                        shown = unpack(int(one)) if kind == "rgb" else one
                        self.refuse("classes", f"{kind} {shown} belongs to both {users[kind, one]} and {label.name}"
                                    if kind != "name" else f"two classes are called {label.name!r}")
                    users[kind, one] = label.name
        return tuple(labels)

    def label(self, value: Any, key: str, place: int, colors: bool) -> ClassInfo:
        if not isinstance(value, dict):
            self.refuse(key, f"must be a class such as {{name: road, rgb: [128, 64, 128]}}, not {value!r}")
        self.known(value, CLASS_KEYS, f"{key}.")
        name = self.text(value, "name", where=f"{key}.")
        rgb = self.rgb(value.get("rgb"), f"{key}.rgb")
        raw_ids: tuple[int, ...] = (place,)
        if colors:
            for wrong in ("id", "ids"):
                if wrong in value:
                    self.refuse(f"{key}.{wrong}", "does not go with label_format rgb: use label_rgbs")
            shades = value.get("label_rgbs", [list(rgb)])
            if not isinstance(shades, list) or not shades:
                self.refuse(f"{key}.label_rgbs", f"must be a list of colors, not {shades!r}")
            raw_ids = tuple(pack(self.rgb(one, f"{key}.label_rgbs")) for one in shades)
        elif "label_rgbs" in value:
            self.refuse(f"{key}.label_rgbs", "needs label_format: rgb")
        elif "id" in value and "ids" in value:
            self.refuse(f"{key}.ids", "give either id or ids")
        elif "id" in value:
            raw_ids = (self.id(value["id"], f"{key}.id"),)
        elif "ids" in value:
            raw_ids = self.ids(value["ids"], f"{key}.ids")
            if not raw_ids:
                self.refuse(f"{key}.ids", "is empty: a class needs at least one id in the label files")
        return ClassInfo(name, rgb, raw_ids, self.text(value, "category", where=f"{key}.") if "category" in value else "")

    def rgb(self, value: Any, key: str) -> RGB:
        fits = self.numbers(value, key, "three whole numbers from 0 to 255",
                            lambda one: isinstance(one, int) and 0 <= one <= 255)
        if len(fits) != 3:
            self.refuse(key, f"must be three numbers [red, green, blue], not {value!r}")
        return fits[0], fits[1], fits[2]

    def id(self, value: Any, key: str) -> int:
        if not _is_id(value):
            self.refuse(key, f"must be a whole number from 0 to 65535, not {value!r}")
        return value

    def ids(self, value: Any, key: str) -> tuple[int, ...]:
        return tuple(self.numbers(value, key, "whole numbers from 0 to 65535", _is_id))

    def ignored(self, content: Mapping[str, Any], classes: Collection[ClassInfo], colors: bool) -> tuple[int, ...]:
        if not colors:
            used = {raw_id for label in classes for raw_id in label.raw_ids or ()}
            default = [IGNORE_LABEL] if IGNORE_LABEL not in used else []
            ignored = self.ids(content.get("ignored_ids", default), "ignored_ids")
        else:
            shades = content.get("ignored_rgbs", [])
            if not isinstance(shades, list):
                self.refuse("ignored_rgbs", f"must be a list of colors, not {shades!r}")
            ignored = tuple(pack(self.rgb(one, "ignored_rgbs")) for one in shades)
        for label in classes:
            for one in {*ignored}.intersection(label.raw_ids or ()):
                self.refuse("ignored_rgbs" if colors else "ignored_ids",
                            f"{unpack(one) if colors else one} belongs to {label.name}: take it from one of the two")
        return tuple(dict.fromkeys(ignored))

    def channels(self, content: Mapping[str, Any], key: str, default: tuple[float, ...]) -> tuple[float, float, float]:
        value = self.numbers(content.get(key, list(default)), key, "three numbers in [0, 1]",
                             lambda one: isinstance(one, int | float) and 0 <= one <= 1)
        if len(value) != 3 or (key == "std" and 0 in value):
            self.refuse(key, f"must be three numbers in [0, 1], of red, green and blue"
                             f"{', and not 0' if key == 'std' else ''}; not {value!r}")
        return float(value[0]), float(value[1]), float(value[2])

    def crop_size(self, content: Mapping[str, Any]) -> tuple[int, int]:
        value = content.get("crop_size", [512, 512])
        value = [value, value] if isinstance(value, int) else value
        if isinstance(value, str) and (match := re.fullmatch(r"(\d+)x(\d+)", value)):
            value = [int(match[1]), int(match[2])]
        fits = self.numbers(value, "crop_size", "two whole numbers, [height, width]",
                            lambda one: isinstance(one, int) and one > 0)
        if len(fits) != 2:
            self.refuse("crop_size", f"must be [height, width], not {value!r}")
        return fits[0], fits[1]

    def splits(self, value: Any) -> dict[str, tuple[str | Subset, ...]]:
        if not isinstance(value, dict) or not value:
            self.refuse("splits", "must name at least one split, such as {train: train, val: val}")
        splits: dict[str, tuple[str | Subset, ...]] = {}
        for name, entries in value.items():
            key = f"splits.{name}"
            if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name == "none":
                self.refuse(key, "a split is named with letters, digits, '_', '-' and '.', and not 'none'")
            splits[name] = ()
            for entry in entries if isinstance(entries, list) else [entries]:
                if isinstance(entry, str) and isinstance(entries, list) and entry in splits and entry != name:
                    splits[name] += splits[entry]
                else:
                    splits[name] += (self.entry(entry, name, key),)
            if not splits[name]:
                self.refuse(key, "is empty")
        if "train" in splits and "val" in splits:
            splits.setdefault("trainval", splits["train"] + splits["val"])
        return splits

    def entry(self, value: Any, split: str, key: str) -> str | Subset:
        if isinstance(value, str):
            return value
        if not isinstance(value, dict):
            self.refuse(key, f"must be a folder, or a mapping of {', '.join(SPLIT_KEYS)}; not {value!r}")
        self.known(value, SPLIT_KEYS, f"{key}.")
        if "match" in value and "list" in value:
            self.refuse(f"{key}.list", "give either match or list")
        choose: Choose | None = None
        if "match" in value:
            choose = Matching(self.text(value, "match", where=f"{key}."))
        if "list" in value:
            choose = Listed((self.text(value, "list", where=f"{key}."),))
        return Subset((self.text(value, "folder", split, where=f"{key}."),), choose)

    def unlabelled(self, content: Mapping[str, Any], splits: Collection[str]) -> tuple[str, ...]:
        value = content.get("unlabelled", [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.refuse("unlabelled", f"must be a list of splits, not {value!r}")
        for one in value:
            if one not in splits:
                near = suggest(one, splits) or "."
                self.refuse("unlabelled", f"there is no split {one!r}{near}")
        return tuple(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF
