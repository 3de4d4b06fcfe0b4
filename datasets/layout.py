"""Where a dataset's files are, and which of the images in a folder belong to a split."""
from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Layout:
    """The paths of a dataset's files, as globs relative to the root.

    `{split}` stands for the split's folder, `{suffix}` for any of .png .jpg .jpeg .webp, `*` for
    any characters within a folder name and `**/` for any folders. An image's label has the same
    wildcard matches: those of `images`, from left to right, replace the wildcards of `labels`.

    Args:
        images: glob of the image files.
        labels: glob of the label files.
        train_ids: the label files hold train ids, whatever the raw ids of the classes are.
    """

    images: str
    labels: str
    train_ids: bool = False


class ImageMatch(NamedTuple):
    """An image in a folder of a split, and what each wildcard of its layout matches in its path."""

    folder: str
    wildcards: tuple[str, ...]
    image: Path


Choose = Callable[[Path, Sequence[ImageMatch]], Sequence[ImageMatch]]


@dataclass(frozen=True)
class Subset:
    """Some of the images of some folders.

    Args:
        folders: values of `{split}` in a layout. Their images follow one another folder by folder,
            sorted by path in each.
        choose: (root, images) -> the images that belong to the split; all of them when None.
        layouts: replace those of the spec if the labels of the split are elsewhere.
    """

    folders: tuple[str, ...]
    choose: Choose | None = None
    layouts: tuple[Layout, ...] = ()


@dataclass(frozen=True)
class Indices:
    """The images at these positions of the sorted list; with `exclude`, all others."""

    indices: tuple[int, ...]
    exclude: bool = False

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        """Raises ValueError if the folder has fewer images than the split was made for."""
        if max(self.indices) >= len(images):
            raise ValueError(f"the split lists image number {max(self.indices)}, but there are "
                             f"only {len(images)} images: is the folder complete?")
        return [image for index, image in enumerate(images)
                if (index in self.indices) != self.exclude]


@dataclass(frozen=True)
class Fold:
    """A cross-validation split by the first wildcard, such as the city.

    The groups are those of the first folder, followed by those of the second. Let n be the number
    of groups of the first folder. Fold k of K holds out n groups, starting with group
    k * len(groups) // K and continuing at the start after the last one.
    """

    fold: int
    folds: int
    held_out: bool

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        groups = [*dict.fromkeys((image.folder, image.wildcards[0]) for image in images)]
        count = sum(folder == groups[0][0] for folder, _ in groups)
        start = self.fold * len(groups) // self.folds
        chosen = {groups[(start + step) % len(groups)] for step in range(count)}
        return [image for image in images
                if ((image.folder, image.wildcards[0]) in chosen) == self.held_out]


@dataclass(frozen=True)
class GroupFold:
    """A cross-validation split of one folder by the first wildcard, such as the drive.

    Fold k of K, counted from 0, holds out groups k, k + K, k + 2 K, ... in the order of their
    names.
    """

    fold: int
    folds: int
    held_out: bool

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        groups = [*dict.fromkeys((image.folder, image.wildcards[0]) for image in images)]
        chosen = {*groups[self.fold::self.folds]}
        return [image for image in images
                if ((image.folder, image.wildcards[0]) in chosen) == self.held_out]


class Frames(NamedTuple):
    """Frames `first` to `last` of a video whose files are called `<sequence>_<number>`.

    Letters before the number are skipped.
    """

    sequence: str
    first: int = 0
    last: int = 10 ** 9

    def contains(self, stem: str) -> bool:
        """Whether the file of this stem is one of the frames."""
        match = re.fullmatch(r"(.+)_[a-zA-Z]*(\d+)", stem)
        if match is None:
            return False
        return match[1] == self.sequence and self.first <= int(match[2]) <= self.last


@dataclass(frozen=True)
class Videos:
    """The images that belong to any of `frames` and to none of `exclude`."""

    frames: tuple[Frames, ...]
    exclude: tuple[Frames, ...] = ()

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        return [image for image in images if self._contains(image.wildcards[-1])]

    def _contains(self, stem: str) -> bool:
        included = any(frames.contains(stem) for frames in self.frames)
        return included and not any(frames.contains(stem) for frames in self.exclude)


@dataclass(frozen=True)
class Matching:
    """The images whose path below the root, or whose stem, matches a glob."""

    glob: str

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        return [image for image in images if self._matches(image.image.relative_to(root))]

    def _matches(self, path: Path) -> bool:
        return fnmatchcase(path.as_posix(), self.glob) or fnmatchcase(path.stem, self.glob)


@dataclass(frozen=True)
class Listed:
    """The images that a list file names, one per line.

    A line is the image's path below the root, or the end of that path, with or without the suffix.

    Args:
        files: possible paths of the list, below the root; the first one that exists is read.
    """

    files: tuple[str, ...]

    def __call__(self, root: Path, images: Sequence[ImageMatch]) -> Sequence[ImageMatch]:
        """Raises FileNotFoundError without a list, ValueError if a line does not name one image."""
        file = next((root / path for path in self.files if (root / path).is_file()), None)
        if file is None:
            paths = " or ".join(str(root / path) for path in self.files)
            raise FileNotFoundError(f"the list of the split is missing: {paths} should name its "
                                    "images, one per line")
        endings = _path_endings(root, images)
        chosen: set[int] = set()
        lines = [line.strip() for line in _read_list(file).splitlines()]
        for number, line in enumerate(filter(None, lines), start=1):
            matches = endings.get(line.removeprefix("./").removeprefix("/"), set())
            if not matches:
                raise ValueError(f"{file}, line {number}: {line!r} names none of the {len(images)} "
                                 "images that are here")
            if len(matches) > 1:
                raise ValueError(f"{file}, line {number}: {line!r} names several images, such as "
                                 f"{images[min(matches)].image} and {images[max(matches)].image}")
            chosen |= matches
        if not chosen:
            raise ValueError(f"{file} names no image: a split needs at least one")
        return [image for index, image in enumerate(images) if index in chosen]


def _read_list(file: Path) -> str:
    """Reads a list in UTF-8, or in UTF-16 with a byte order mark, as Windows programs write it.

    Raises:
        ValueError: the file is in another encoding.
    """
    data = file.read_bytes()
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise ValueError(f"{file}, line {line}: the list is not in UTF-8 (byte "
                         f"0x{data[error.start]:02x}): save it as UTF-8, for example with iconv "
                         "-f latin1 -t utf-8") from error
    if "\0" in text:
        raise ValueError(f"{file} is not in UTF-8, but in UTF-16 or no text: save it as UTF-8")
    return text


def _path_endings(root: Path, images: Sequence[ImageMatch]) -> dict[str, set[int]]:
    """Returns ending of a path, with and without suffix -> indices of the images that have it."""
    endings: dict[str, set[int]] = {}
    for index, image in enumerate(images):
        parts = image.image.relative_to(root).parts
        for start in range(len(parts)):
            ending = "/".join(parts[start:])
            for name in (ending, ending.removesuffix(image.image.suffix)):
                endings.setdefault(name, set()).add(index)
    return endings
