"""Which of a dataset's images a split takes, where a folder alone does not say it."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Layout:
    """One way a dataset's files are laid out, as globs relative to the root.

    `{split}` stands for the split's folder, `{suffix}` for any of .png .jpg .jpeg .webp, `*` for anything within a
    folder and `**/` for any folders. What the stars of `images` match, left to right, takes the place of the stars of
    `labels`: so an image names its label.

    Args:
        train_ids: these label files hold train ids, whatever the table's raw ids are.
    """

    images: str
    labels: str
    train_ids: bool = False


class Found(NamedTuple):
    """An image in a folder of a split, and what the stars of the layout's pattern match in its path."""

    folder: str
    stars: tuple[str, ...]
    image: Path


Choose = Callable[[Path, Sequence[Found]], Sequence[Found]]


@dataclass(frozen=True)
class Subset:
    """Images of some folders.

    Args:
        folders: each stands for `{split}` in a layout; their images, sorted by path, come one folder after the other.
        choose: (root, images) -> those that belong to the split; all of them when None.
        layouts: instead of the table's, where the split's labels lie elsewhere.
    """

    folders: tuple[str, ...]
    choose: Choose | None = None
    layouts: tuple[Layout, ...] = ()


@dataclass(frozen=True)
class Indices:
    """The images at these places of the sorted list, or with `but` all others."""

    indices: tuple[int, ...]
    but: bool = False

    def __call__(self, root: Path, found: Sequence[Found]) -> Sequence[Found]:
        """Raises ValueError where the folder has fewer images than the split was made for."""
        if max(self.indices) >= len(found):
            raise ValueError(f"the split was made for more images than the {len(found)} that are here (it names number "
                             f"{max(self.indices)}): is the folder complete?")
        return [one for index, one in enumerate(found) if (index in self.indices) != self.but]


@dataclass(frozen=True)
class Fold:
    """A cross-validation split by the first star, such as the city.

    All groups are those of the first folder, then those of the second. Of fold k of n, as many as the first folder has
    are held out, from k * len(groups) // n on.
    """

    fold: int
    folds: int
    held_out: bool

    def __call__(self, root: Path, found: Sequence[Found]) -> Sequence[Found]:
        groups = [*dict.fromkeys((one.folder, one.stars[0]) for one in found)]
        count = sum(folder == groups[0][0] for folder, _ in groups)
        start = self.fold * len(groups) // self.folds
        chosen = {groups[(start + step) % len(groups)] for step in range(count)}
        return [one for one in found if ((one.folder, one.stars[0]) in chosen) == self.held_out]


class Frames(NamedTuple):
    """Frames `first` to `last` of a video, by the file's name `<sequence>_<number>`; letters before the number count
    for nothing."""

    sequence: str
    first: int = 0
    last: int = 10 ** 9

    def holds(self, stem: str) -> bool:
        match = re.fullmatch(r"(.+)_[a-zA-Z]*(\d+)", stem)
        return match is not None and match[1] == self.sequence and self.first <= int(match[2]) <= self.last


@dataclass(frozen=True)
class Videos:
    """The images that belong to these frames, and with `but` to none of those."""

    frames: tuple[Frames, ...]
    but: tuple[Frames, ...] = ()

    def __call__(self, root: Path, found: Sequence[Found]) -> Sequence[Found]:
        return [one for one in found if any(each.holds(one.stars[-1]) for each in self.frames)
                and not any(each.holds(one.stars[-1]) for each in self.but)]


@dataclass(frozen=True)
class Matching:
    """The images whose path below the root, or whose stem, matches a glob."""

    glob: str

    def __call__(self, root: Path, found: Sequence[Found]) -> Sequence[Found]:
        return [one for one in found if fnmatchcase(one.image.relative_to(root).as_posix(), self.glob)
                or fnmatchcase(one.image.stem, self.glob)]


@dataclass(frozen=True)
class Listed:
    """The images that a list file names, one a line: its path below the root or its end, with or without the suffix.

    Args:
        files: where the list may be, below the root; the first that is there is read.
    """

    files: tuple[str, ...]

    def __call__(self, root: Path, found: Sequence[Found]) -> Sequence[Found]:
        """Raises FileNotFoundError without a list, ValueError for a line that names no image or several."""
        file = next((root / one for one in self.files if (root / one).is_file()), None)
        if file is None:
            places = " or ".join(str(root / one) for one in self.files)
            raise FileNotFoundError(f"the split's list is missing: {places} should name its images, one a line")
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        ends: dict[str, set[int]] = {}
        for index, one in enumerate(found):
            parts = one.image.relative_to(root).parts
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for name in (end, end[: -len(one.image.suffix)]):
                    ends.setdefault(name, set()).add(index)
        chosen = set()
        for number, line in enumerate(lines, start=1):
            named = ends.get(line.removeprefix("./").removeprefix("/"), set())
            if len(named) != 1:
                said = (f"several images, such as {found[min(named)].image} and {found[max(named)].image}" if named
                        else f"none of the {len(found)} images that are here")
                raise ValueError(f"{file}, line {number}: {line!r} names {said}")
            chosen |= named
        if not chosen:
            raise ValueError(f"{file} names no image: a split needs at least one")
        return [one for index, one in enumerate(found) if index in chosen]
