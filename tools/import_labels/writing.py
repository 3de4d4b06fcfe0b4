"""Writes the folder of an imported dataset: images, label ids, and the YAML file of `--dataset`.

    OUT/images/<split>/...   hard links to the images, or copies where links are not possible
    OUT/labels/<split>/...   PNG files of class ids, 255 where ignored
    OUT/dataset.yaml         written last

Everything is made in OUT/.unfinished first, so that an interrupted import leaves no dataset, and
the same command begins again.
"""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

import datasets
from datasets.spec import RGB, ClassInfo, DatasetError, DatasetSpec
from tools.import_labels.colors import voc_color
from utils.files import link_or_copy, make_folder, write_text
from utils.visualization import label_maps

YAML = "dataset.yaml"
UNFINISHED = ".unfinished"
# training crops without --crop_size are at most this high and wide
LARGEST_CROP = 512


class Folder:
    """The output folder.

    Raises:
        DatasetError: it holds something else than an imported dataset, or its YAML is damaged.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.unfinished = out / UNFINISHED
        self.spec: DatasetSpec | None = None
        if (out / YAML).is_file():
            self.spec = datasets.spec(str(out / YAML))
        elif out.exists() and (not out.is_dir() or {*out.iterdir()} - {self.unfinished}):
            raise DatasetError(f"--out {out} exists and is no imported dataset: name another "
                               "folder.")

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes of an earlier import into this folder; empty without one."""
        return self.spec.classes if self.spec else ()

    @contextmanager
    def fill(self) -> Iterator[None]:
        """Begins a new content; it is removed if the body raises."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        make_folder(self.out, "--out")
        self.unfinished.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self.unfinished, ignore_errors=True)

    def add(self, split: str, name: PurePosixPath, image: Path, label: np.ndarray) -> None:
        """Adds an image and its label map of train ids, under a name without suffix."""
        target = self.unfinished / "images" / split / f"{name}{image.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(target, image.resolve())
        label_maps.write(self.unfinished / "labels" / split / f"{name}.png", label)

    def finish(self, classes: Sequence[ClassInfo], crop_size: tuple[int, int],
               command: str) -> Path:
        """Moves the new splits to their places, in place of earlier ones, and writes the YAML.

        Args:
            command: how the folder was made, for a comment.
        """
        splits = [*self.spec.splits] if self.spec else []
        splits = [split for split in splits if split != "trainval"]
        for path in sorted((self.unfinished / "labels").iterdir()):
            for kind in ("images", "labels"):
                place = self.out / kind / path.name
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                (self.unfinished / kind / path.name).rename(place)
            splits.append(path.name)
        path = self.out / YAML
        write_text(path, describe(self.out.resolve().name, classes, dict.fromkeys(splits),
                                  crop_size, command))
        return path


def describe(name: str, classes: Sequence[ClassInfo], splits: Mapping[str, None],
             crop_size: tuple[int, int], command: str) -> str:
    """Returns the YAML file of an imported dataset."""
    rows = [f"  - {{name: {json.dumps(info.name, ensure_ascii=False)}, id: {index}, "
            f"rgb: {list(info.rgb)}{_category(info)}}}" for index, info in enumerate(classes)]
    named = ", ".join(f"{json.dumps(split)}: {json.dumps(split)}" for split in splits)
    return "\n".join([
        f"# made by {command}",
        f"name: {json.dumps(re.sub(r'[^A-Za-z0-9_.-]', '_', name))}",
        "root: .",
        'images: "images/{split}/**/*{suffix}"',
        'labels: "labels/{split}/**/*.png"',
        "classes:",
        *rows,
        "ignored_ids: [255]",
        f"crop_size: {crop_size[0]}x{crop_size[1]}",
        f"splits: {{{named}}}",
        "",
    ])


def _category(info: ClassInfo) -> str:
    if not info.category:
        return ""
    return f", category: {json.dumps(info.category, ensure_ascii=False)}"


def crop_size_for(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Returns the (height, width) of crops that most images are large enough for."""
    height, width = np.median(np.array(sizes), axis=0).astype(int).tolist()
    return min(height, LARGEST_CROP), min(width, LARGEST_CROP)


def with_colors(names: Sequence[str], colors: Mapping[str, RGB | None]) -> list[ClassInfo]:
    """Returns the classes in their colors; those without get distinct colors of VOC's palette."""
    used = {color for name in names if (color := colors.get(name))}
    free = (color for index in range(1, 512) if (color := voc_color(index % 256)) not in used)
    return [ClassInfo(name, colors.get(name) or next(free)) for name in names]
