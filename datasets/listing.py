"""Lists the images of a split and their labels, by the layouts of its spec."""
from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.layout import ImageMatch, Layout, Subset
from datasets.spec import SEE_DATASETS, DatasetError, DatasetSpec

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """One image and its label.

    Args:
        name: unique within the split, unless two files have the same name.
        label: None in splits without public labels.
        spec: defines the raw ids of the label file: the spec of the dataset, that of one of its
            parts, or that of a layout with train ids.
    """

    name: str
    image: Path
    label: Path | None
    spec: DatasetSpec


@dataclass(frozen=True)
class Listing:
    """The files of a split.

    Args:
        samples: images with their labels, sorted by path within each folder of the split.
        missing_labels: samples whose label file does not exist.
        labels_without_image: label files whose image does not exist.
    """

    samples: tuple[Sample, ...]
    missing_labels: tuple[Sample, ...] = ()
    labels_without_image: tuple[Path, ...] = ()


class _Folder(NamedTuple):
    """A folder of a split: the layout that fits, its images, and the label files that exist."""

    layout: Layout
    images: list[ImageMatch]
    labels: set[Path]


def find_samples(spec: DatasetSpec, root: Path, split: str) -> tuple[Sample, ...]:
    """Lists the images of a split with their labels.

    Raises:
        FileNotFoundError: the root is missing, has another layout, or lacks labels.
        DatasetError: the spec has no such split, or the split does not fit the files.
    """
    listing = list_split(spec, root, split)
    if listing.missing_labels:
        missing = len(listing.missing_labels)
        first = listing.missing_labels[0]
        raise FileNotFoundError(
            f"{spec.title} {split}: {missing} of {missing + len(listing.samples)} images have no "
            f"label. The first is {first.image}; its label should be {first.label}. Add the "
            f"labels{_or_describe(spec, split, listing)} or remove the images {SEE_DATASETS}.")
    for sample in listing.samples:
        for path in filter(None, (sample.image, sample.label)):
            if name_problem := describe_name(path):
                raise DatasetError(name_problem)
    return listing.samples


def evenly_spaced(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Returns at most so many samples, from the first to the last."""
    indices = np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)
    return [samples[index] for index in indices]


def describe_name(path: Path) -> str:
    """Returns the error message for a path that is not UTF-8, and so cannot be logged or stored.

    Python stands for such a byte by a lone surrogate; the message shows it as a number. It is "" if
    the path is UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        return (f"{shown} has a name that is not UTF-8: rename it, for example with convmv -f "
                "latin1 -t utf-8 --notest -r FOLDER.")
    return ""


def _or_describe(spec: DatasetSpec, split: str, listing: Listing) -> str:
    """Returns what to change in the YAML file of a dataset whose images lack labels."""
    if spec.description is None:
        return ""
    if listing.labels_without_image and not listing.samples:
        return (f", change `labels` in {spec.source} so that it finds files such as "
                f"{listing.labels_without_image[0]},")
    unlabeled = ", ".join((*spec.unlabeled, split))
    return (f", write this line in {spec.source} if no image of the split has a label: "
            f"unlabeled: [{unlabeled}],")


def list_split(spec: DatasetSpec, root: Path, split: str) -> Listing:
    """Lists the files of a split, whether or not it is complete.

    Raises:
        FileNotFoundError: the root is missing or has another layout.
        DatasetError: the spec has no such split, or the split does not fit the files.
    """
    spec.require(split)
    if not root.is_dir():
        state = "not a folder" if root.exists() else "missing"
        raise FileNotFoundError(f"{spec.title}: {root} is {state}. Point --data_root at "
                                f"{spec.hint} {SEE_DATASETS}.")
    if spec.parts:
        listings = [_with_prefix(list_split(part, root / folder, split), f"{folder}_")
                    for folder, part in spec.parts]
    else:
        entries = [Subset((entry,)) if isinstance(entry, str) else entry
                   for entry in spec.splits[split]]
        listings = [_list_subset(spec, root, split, subset) for subset in entries]
    return Listing(
        samples=sum((listing.samples for listing in listings), ()),
        missing_labels=sum((listing.missing_labels for listing in listings), ()),
        labels_without_image=sum((listing.labels_without_image for listing in listings), ()),
    )


def _with_prefix(listing: Listing, prefix: str) -> Listing:
    samples = tuple(sample._replace(name=prefix + sample.name) for sample in listing.samples)
    return replace(listing, samples=samples)


def _list_subset(spec: DatasetSpec, root: Path, split: str, subset: Subset) -> Listing:
    images: list[ImageMatch] = []
    label_of: dict[Path, tuple[Path, Layout]] = {}
    existing: set[Path] = set()
    for name in subset.folders:
        folder = _best_layout(spec, root, split, name, subset.layouts or spec.layouts)
        images += folder.images
        pattern = folder.layout.labels.replace("{split}", name)
        for image in folder.images:
            label_of[image.image] = (root / _fill(pattern, image.wildcards), folder.layout)
        existing |= folder.labels
    if subset.choose is not None:
        images = _choose(spec, root, split, subset, images)

    unlabeled = split in spec.unlabeled
    samples: list[Sample] = []
    missing_labels: list[Sample] = []
    train_id_spec = spec.with_train_id_labels()
    for image, name in zip(images, _names(images), strict=True):
        label, layout = label_of[image.image]
        label_spec = train_id_spec if layout.train_ids else spec
        sample = Sample(name, image.image, None if unlabeled else label, label_spec)
        if unlabeled or label in existing:
            samples.append(sample)
        else:
            missing_labels.append(sample)
    labels_without_image = sorted(existing - {label for label, _ in label_of.values()})
    return Listing(tuple(samples), tuple(missing_labels), tuple(labels_without_image))


def _choose(spec: DatasetSpec, root: Path, split: str, subset: Subset,
            images: list[ImageMatch]) -> list[ImageMatch]:
    """Applies the subset's `choose` to the images; errors name the dataset and the split."""
    assert subset.choose is not None
    try:
        chosen = [*subset.choose(root, images)]
    except ValueError as error:
        raise DatasetError(f"{spec.title} {split}: {error} {SEE_DATASETS}.") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{spec.title} {split}: {error} {SEE_DATASETS}.") from error
    if not chosen:
        raise FileNotFoundError(f"{spec.title} {split}: none of the images under {root} belongs to "
                                f"it {SEE_DATASETS}.")
    return chosen


def _names(images: list[ImageMatch]) -> list[str]:
    """Returns the stems of the images; if some are equal, all their wildcard matches, joined."""
    stems = [image.wildcards[-1] for image in images]
    if len(set(stems)) == len(stems):
        return stems
    return ["_".join(image.wildcards).replace("/", "_").replace("__", "_").strip("_")
            for image in images]


def _best_layout(spec: DatasetSpec, root: Path, split: str, folder: str,
                 layouts: tuple[Layout, ...]) -> _Folder:
    """Returns the first layout with labeled images; if there is none, the first with images."""
    first = None
    for layout in layouts:
        images = _match(layout, root, folder)
        if not images:
            continue
        if split in spec.unlabeled:
            return _Folder(layout, images, set())
        # One listing of the folder is much faster on network disks than a look-up per image.
        pattern = layout.labels.replace("{split}", folder)
        labels = set(_glob(root, pattern))
        candidate = _Folder(layout, images, labels)
        if any(root / _fill(pattern, image.wildcards) in labels for image in images):
            return candidate
        first = first or candidate
    if first is None:
        raise FileNotFoundError(_describe_missing(spec, root, split, folder, layouts))
    return first


def _match(layout: Layout, root: Path, folder: str) -> list[ImageMatch]:
    """Returns every image of a layout, sorted by path, without hidden files."""
    pattern = layout.images.replace("{split}", folder)
    suffixes = "(?i:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"
    regex = re.escape(pattern).replace(r"\{suffix\}", suffixes)
    # one group per wildcard; names of files and folders that start with a dot do not match
    regex = regex.replace(r"\*\*/", "((?:[^/.][^/]*/)*)").replace(r"\*", r"((?!\.)[^/]*)")
    images = []
    for path in sorted(_glob(root, pattern.replace("{suffix}", ".*"))):
        match = re.fullmatch(regex, path.relative_to(root).as_posix())
        if match:
            images.append(ImageMatch(folder, match.groups(), path))
    return images


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    """Yields the paths below the root that a pattern with `*` and `**/` matches.

    Links are followed everywhere; `Path.glob` does not follow them below `**/`. Names that start
    with a dot match only where the pattern spells them out.

    Raises:
        DatasetError: a folder cannot be read.
    """
    parts = pattern.split("/")
    folders = [root]
    for part in parts[:-1]:
        if part == "**":
            folders = [below for folder in folders for below in _tree(folder, ())]
        elif "*" in part:
            folders = [Path(entry.path) for folder in folders
                       for entry in _entries(folder, part) if _is_folder(entry)]
        else:
            folders = [folder / part for folder in folders if (folder / part).is_dir()]
    for folder in folders:
        if "*" in parts[-1]:
            yield from (Path(entry.path) for entry in _entries(folder, parts[-1]))
        elif (folder / parts[-1]).exists():
            yield folder / parts[-1]


def _tree(folder: Path, parents: tuple[str, ...]) -> Iterator[Path]:
    """Yields a folder and all below it, through links, but not into a folder that holds the link.

    Args:
        parents: real paths of the folders between the start and this one.
    """
    real = os.path.realpath(folder)
    yield folder
    for entry in _entries(folder, "*"):
        if not _is_folder(entry):
            continue
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            is_cycle = target in parents or Path(real).is_relative_to(target)
            if is_cycle:
                continue
        yield from _tree(Path(entry.path), (*parents, real))


def _entries(folder: Path, part: str) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder that one part of a pattern matches, without hidden ones."""
    regex = re.compile(re.escape(part).replace(r"\*", ".*"), re.DOTALL)
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries
                    if regex.fullmatch(entry.name)
                    and (part.startswith(".") or not entry.name.startswith("."))]
    except OSError as error:
        raise DatasetError(f"the folder {folder} cannot be read ({error.strerror}): check its "
                           "permissions and the disk, or remove it.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir():
        return True
    if entry.is_symlink() and not entry.is_file():
        log.warning("%s is a link to %s, which is missing: no images are listed there", entry.path,
                    Path(entry.path).readlink())
    return False


def _fill(pattern: str, wildcards: tuple[str, ...]) -> str:
    """Replaces the wildcards of a label pattern with what those of the image pattern matched."""
    values = iter(wildcards)
    return re.sub(r"\*\*/|\*", lambda wildcard: next(values), pattern)


def _describe_missing(spec: DatasetSpec, root: Path, split: str, folder: str,
                      layouts: tuple[Layout, ...]) -> str:
    """Returns the error message for a folder in which no layout has an image."""
    suffixes = "{" + ",".join(IMAGE_SUFFIXES) + "}"
    patterns = dict.fromkeys(
        layout.images.replace("{split}", folder).replace("{suffix}", suffixes)
        for layout in layouts)
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in root.iterdir())
    content = ", ".join(names[:10]) or "nothing"
    if len(names) > 10:
        content += f" and {len(names) - 10} more"
    better_root = next(_better_roots(root, folder, layouts), None)
    target = f"{better_root}, which holds them" if better_root else spec.hint
    remedy = f"Point --data_root at {target} {SEE_DATASETS}."
    if not better_root and spec.description is not None and (
            others := _split_folders(spec, root, layouts)):
        remedy = (f"In place of {folder}/ there is {', '.join(others)}: name the folder of each "
                  f"split in {spec.source}, as in splits: {{{split}: FOLDER}} {SEE_DATASETS}.")
    return (f"{spec.title} {split}: no image matches {' or '.join(patterns)} under {root}, which "
            f"holds {content}. {remedy}")


def _split_folders(spec: DatasetSpec, root: Path, layouts: tuple[Layout, ...]) -> list[str]:
    """Returns up to ten folders, `NAME/`, that `{split}` could stand for and no split names."""
    named = {f"{folder}/" for entries in spec.splits.values() for entry in entries
             for folder in ((entry,) if isinstance(entry, str) else entry.folders)}
    folders: set[str] = set()
    for layout in layouts:
        before, found, _ = layout.images.partition("{split}/")
        # where `{split}` is a part of a name, there is no folder to list
        if found and (not before or before.endswith("/")):
            folders |= {f"{path.name}/" for path in _glob(root, before + "*")
                        if path.is_dir() and _match(layout, root, path.name)}
    return sorted(folders - named)[:10]


def _better_roots(root: Path, folder: str, layouts: tuple[Layout, ...]) -> Iterator[Path]:
    """Yields the folders directly above and below the root that have images of a layout."""
    for candidate in (root.parent, *sorted(root.iterdir())[:20]):
        try:
            is_better = candidate.is_dir() and any(
                _match(layout, candidate, folder) for layout in layouts)
        # a folder near the root that must not be read
        except (DatasetError, OSError):
            continue
        if is_better:
            yield candidate
