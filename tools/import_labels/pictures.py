"""Finds the image of each annotation, and checks that its labels fit it."""
from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from datasets.image_files import APPLY_ORIENTATION, exif_orientation, image_size
from datasets.listing import IMAGE_SUFFIXES
from datasets.reader import describe_orientation
from datasets.spec import DatasetError
from tools.import_labels.shapes import AnnotatedImage

log = logging.getLogger("import_labels")


class Pictures:
    """The images below some folders, by path and by name.

    Args:
        folders: searched in this order.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.by_name: dict[str, list[Path]] = {}
        for folder in folders:
            for path in _files(folder):
                names = {path.name.lower(), path.stem.lower()}
                for name in names:
                    self.by_name.setdefault(name, []).append(path)

    def find(self, image: AnnotatedImage) -> Path | None:
        """Returns the image's file: at its path below a folder, or else the only one of its name.

        A file that is named without suffix may have any.

        Raises:
            DatasetError: several images have the name.
        """
        file = relative_path(image.file)
        candidates = [folder / path for folder in image.folders for path in (file, file.name)]
        for path in (*candidates, *(folder / file for folder in self.folders)):
            if path.is_file():
                return path
        same = [*dict.fromkeys(self.by_name.get(file.name.lower(), ()))]
        if len(same) > 1:
            # the longest common ending of the paths decides
            endings = [_common_parts(path, file) for path in same]
            same = [path for path, count in zip(same, endings, strict=True)
                    if count == max(endings)]
        if len(same) > 1:
            raise DatasetError(f"{image.source}: {image.file} may be {same[0]} or {same[1]}: name "
                               "one of their folders with --images.")
        return same[0] if same else None


def _files(folder: Path) -> list[Path]:
    """Returns the images below a folder, without hidden ones, in order.

    Links to folders are followed, but into each folder once.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names)
                  if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return found


def _common_parts(path: Path, file: PurePosixPath) -> int:
    """Returns how many parts two paths have in common, counted from their ends."""
    count = 0
    for first, second in zip(reversed(path.parts), reversed(file.parts), strict=False):
        if first.lower() != second.lower() and count:
            break
        count += 1
    return count


def relative_path(file: str) -> PurePosixPath:
    """Returns a path as an annotation file spells it, below the folder of the images.

    Drives, leading slashes and steps to a parent folder are dropped; backslashes separate folders.
    """
    parts = [part for part in file.replace("\\", "/").split("/")
             if part not in ("", ".", "..") and not part.endswith(":")]
    return PurePosixPath(*parts)


def name_of(image: AnnotatedImage, path: Path) -> PurePosixPath:
    """Returns the image's path in the dataset, without suffix: that of the annotation file.

    Leading dots are dropped, because hidden images are not read.
    """
    file = relative_path(image.file)
    if Path(image.file).is_absolute() or ":" in image.file:
        file = PurePosixPath(path.name)
    if image.name:
        file = PurePosixPath(image.name)
    if file.suffix.lower() in IMAGE_SUFFIXES or file.suffix == path.suffix:
        file = file.with_suffix("")
    return PurePosixPath(*(part.lstrip(".") or "_" for part in file.parts))


def checked_size(image: AnnotatedImage, path: Path) -> tuple[int, int]:
    """Returns (height, width) of an image's file.

    Raises:
        DatasetError: the file is damaged or of a format that is not read, or the annotation file
            gives another size.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(f"{path}: images are read as {', '.join(IMAGE_SUFFIXES)}: convert them, "
                           "and keep their names.")
    size = image_size(path)
    if image.size is not None and image.size != size:
        raise DatasetError(_describe_sizes(image, path, size))
    if turned := describe_orientation(path, size):
        log.warning("%s", turned)
    return size


def _describe_sizes(image: AnnotatedImage, path: Path, size: tuple[int, int]) -> str:
    assert image.size is not None
    sizes = (f"{image.source}: {image.file} is labeled at {image.size[0]}x{image.size[1]} (height "
             f"x width), but {path} has {size[0]}x{size[1]}")
    orientation = exif_orientation(path)
    if orientation != 1 and image.size == size[::-1]:
        return (f"{sizes}: it carries EXIF orientation {orientation}, and was labeled as it is "
                f"seen. Write the images again as they are seen, with {APPLY_ORIENTATION}")
    return f"{sizes}: is it another image of this name? Name its folder with --images."
