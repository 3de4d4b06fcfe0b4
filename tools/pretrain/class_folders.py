"""Images in one folder per class: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or `CLASS/*.jpg`."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets import DatasetError
from datasets.listing import IMAGE_SUFFIXES

LISTED_CLASSES = 5              # names that a message lists


class ImageFile(NamedTuple):
    """An image and the number of its class; `name` is its path below the folder of its split."""

    folder: str
    name: str
    label: int

    @property
    def path(self) -> Path:
        return Path(self.folder, self.name)


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder.

    Attributes:
        source: the folder.
        names: of the classes, in the order of their numbers.
        train: the images to train on.
        val: the images to validate on, None without any.
    """

    source: str
    names: tuple[str, ...]
    train: list[ImageFile]
    val: list[ImageFile] | None

    @property
    def name(self) -> str:
        return Path(self.source).resolve().name

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def description(self) -> dict[str, Any]:
        """What a resumed run must find unchanged."""
        return {"classes": list(self.names), "train_images": len(self.train),
                "val_images": len(self.val or ())}


def find_classes(root: Path, val_fraction: float, seed: int) -> ClassFolders:
    """Lists the images of a folder.

    Images may be in folders below that of their class; other files are ignored.

    Args:
        root: holds `train/` and perhaps `val/`, each with a folder per class, or these folders.
        val_fraction: share of each class that is held out for validation if there is no `val/`,
            at least one image; 0 for none.
        seed: of the choice of these images.

    Raises:
        DatasetError: there is no such folder, there are fewer than two classes, a class has no
            image, or `train/` and `val/` have different classes.
    """
    if not root.is_dir():
        raise DatasetError(f"--data_root {root}: there is no such folder. Give the folder that "
                           "holds train/CLASS/ and val/CLASS/, or a folder for each class.")
    has_train, has_val = map(bool, (_subfolders(root / "train"), _subfolders(root / "val")))
    if has_val and not has_train:
        raise DatasetError(f"{root} holds val/, but no train/ with a folder for each class.")
    train_root = root / "train" if has_train else root
    names = _subfolders(train_root)
    if len(names) < 2:
        raise DatasetError(f"{train_root} holds {len(names)} class folder(s) "
                           f"({_listing(names) or 'none'}): a classifier needs at least 2.")
    train = _images(train_root, names)
    if has_val:
        _check_same_classes(root / "val", names)
        val: list[ImageFile] | None = _images(root / "val", names)
    elif val_fraction:
        train, val = _hold_out(train, val_fraction, seed)
    else:
        val = None
    return ClassFolders(str(root), tuple(names), train, val)


def _subfolders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir()
                  if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path, names: list[str]) -> list[ImageFile]:
    """Returns the images of each class in a folder, class by class, sorted by path."""
    images: list[ImageFile] = []
    root = str(folder)
    for label, name in enumerate(names):
        files = sorted(_image_names(folder, name))
        if not files:
            raise DatasetError(f"{folder / name}: this class has no image "
                               f"({' '.join(IMAGE_SUFFIXES)}). Add images, or remove the folder.")
        # one string for all: ImageNet has more than a million images
        images += [ImageFile(root, file, label) for file in files]
    return images


def _image_names(folder: Path, name: str) -> Iterator[str]:
    """Yields the paths, below `folder`, of the images of a class."""
    for parent, _, files in os.walk(folder / name, followlinks=True):
        inner = Path(parent).relative_to(folder)
        for file in files:
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith("."):
                yield str(inner / file)


def _check_same_classes(val_root: Path, names: list[str]) -> None:
    val_names = _subfolders(val_root)
    missing = [name for name in names if name not in val_names]
    unknown = [name for name in val_names if name not in names]
    parts = [f"lacks {_listing(missing)}"] if missing else []
    parts += [f"has {_listing(unknown)} besides"] if unknown else []
    if parts:
        raise DatasetError(f"{val_root} {' and '.join(parts)}: it must hold the {len(names)} "
                           "classes of train/. Move or remove these folders.")


def _hold_out(images: list[ImageFile], fraction: float,
              seed: int) -> tuple[list[ImageFile], list[ImageFile]]:
    """Divides each class at random; returns the images to train on and those to validate on."""
    train: list[ImageFile] = []
    val: list[ImageFile] = []
    rng = np.random.default_rng(seed)
    for _, of_class in groupby(images, key=lambda image: image.label):
        members = list(of_class)
        if len(members) < 2:
            raise DatasetError(f"{members[0].path} is the only image of its class, so that none "
                               "can be held out: add images, or give --val_fraction 0.")
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out = set(rng.permutation(len(members))[:count].tolist())
        for index, image in enumerate(members):
            (val if index in held_out else train).append(image)
    return train, val


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_CLASSES} more" if len(names) > LISTED_CLASSES else ""
    return ", ".join(names[:LISTED_CLASSES]) + more
