"""Finds a split's images and their labels by the layouts of its table."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from datasets.layout import Found, Layout, Subset
from datasets.spec import DatasetError, DatasetSpec

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SEE_DATASETS = "(see DATASETs.md)"


class Sample(NamedTuple):
    """One image and its label; no label in splits whose labels are not public.

    Args:
        table: says what the label's raw ids mean: the dataset's own, or that of a part of it or of a layout.
    """

    name: str
    image: Path
    label: Path | None
    table: DatasetSpec


@dataclass(frozen=True)
class Listing:
    """What there is of a split.

    Args:
        samples: images with their labels, sorted by path within each folder of the split.
        lacking: images whose label is not there.
        orphans: label files whose image is not there.
    """

    samples: tuple[Sample, ...]
    missing_labels: tuple[Sample, ...] = ()
    labels_without_image: tuple[Path, ...] = ()


def find_samples(spec: DatasetSpec, root: Path, split: str) -> tuple[Sample, ...]:
    """Lists a split's images with their labels.

    Raises:
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
        DatasetError: the table has no such split, or the split does not fit what is there.
    """
    listing = list_split(spec, root, split)
    if listing.missing_labels:
        first, all_of_them = listing.missing_labels[0], len(listing.missing_labels) + len(listing.samples)
        raise FileNotFoundError(f"{spec.title} {split}: {len(listing.missing_labels)} of {all_of_them} images have no label. "
                                f"The first is {first.image}; its label should be {first.label}. Add the labels or "
                                f"take the images away {SEE_DATASETS}.")
    return listing.samples


def list_split(spec: DatasetSpec, root: Path, split: str) -> Listing:
    """Lists what there is of a split, complete or not.

    Raises:
        FileNotFoundError: the root is missing or holds another layout.
        DatasetError: the table has no such split, or the split does not fit what is there.
    """
    spec.require(split)
    if not root.is_dir():
        raise FileNotFoundError(f"{spec.title}: {root} is {'not a folder' if root.exists() else 'missing'}. "
                                f"Point --data_root at {spec.hint} {SEE_DATASETS}.")
    if spec.parts:
        listings = [_named(list_split(table, root / folder, split), f"{folder}_") for folder, table in spec.parts]
    else:
        entries = [Subset((entry,)) if isinstance(entry, str) else entry for entry in spec.splits[split]]
        listings = [_list_subset(spec, root, split, subset) for subset in entries]
    samples, missing_labels, labels_without_image = zip(*((each.samples, each.missing_labels, each.labels_without_image) for each in listings), strict=True)
    return Listing(sum(samples, ()), sum(missing_labels, ()), sum(labels_without_image, ()))


def _named(listing: Listing, prefix: str) -> Listing:
    return replace(listing, samples=tuple(one._replace(name=prefix + one.name) for one in listing.samples))


def _list_subset(spec: DatasetSpec, root: Path, split: str, subset: Subset) -> Listing:
    unlabelled = split in spec.unlabelled
    found: list[Found] = []
    labels: dict[Path, tuple[Path, bool]] = {}              # image -> its label and whether that holds train ids
    there: set[Path] = set()
    for folder in subset.folders:
        layout, images, present = _best_layout(spec, root, split, folder, subset.layouts or spec.layouts)
        found += images
        for one in images:
            labels[one.image] = (root / _fill(layout.labels.replace("{split}", folder), one.stars), layout.train_ids)
        there |= present
    if subset.choose is not None:
        try:
            found = [*subset.choose(root, found)]
        except ValueError as error:
            raise DatasetError(f"{spec.title} {split}: {error} {SEE_DATASETS}.") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{spec.title} {split}: {error} {SEE_DATASETS}.") from error
        if not found:
            raise FileNotFoundError(f"{spec.title} {split}: none of the images under {root} belongs to it "
                                    f"{SEE_DATASETS}.")
    trained = spec.with_train_id_labels() if any(train_ids for _, train_ids in labels.values()) else spec
    samples: list[Sample] = []
    missing_labels: list[Sample] = []
    for one, name in zip(found, _names(found), strict=True):
        label, train_ids = labels[one.image]
        sample = Sample(name, one.image, None if unlabelled else label, trained if train_ids else spec)
        (samples if unlabelled or label in there else missing_labels).append(sample)
    labels_without_image = sorted(there - {label for label, _ in labels.values()})
    return Listing(tuple(samples), tuple(missing_labels), tuple(labels_without_image))


def _names(found: list[Found]) -> list[str]:
    """Returns the stems of the images; all that the stars match where stems are alike."""
    stems = [one.stars[-1] for one in found]
    if len(set(stems)) == len(stems):
        return stems
    return ["_".join(one.stars).replace("/", "_").replace("__", "_").strip("_") for one in found]


def _best_layout(spec: DatasetSpec, root: Path, split: str, folder: str,
                 layouts: tuple[Layout, ...]) -> tuple[Layout, list[Found], set[Path]]:
    """Returns the first layout with labelled images, those images, and the label files that are there.

    Where no layout has labels, the first with images.
    """
    first = None
    for layout in layouts:
        images = _match(layout, root, folder)
        if not images:
            continue
        if split in spec.unlabelled:
            return layout, images, set()
        # One listing instead of one look-up an image: network disks answer that much sooner.
        pattern = layout.labels.replace("{split}", folder)
        labels = {path for path in root.glob(pattern) if not path.name.startswith(".")}
        if any(root / _fill(pattern, one.stars) in labels for one in images):
            return layout, images, labels
        first = first or (layout, images, labels)
    if first is None:
        raise FileNotFoundError(_describe_missing(spec, root, split, folder, layouts))
    return first


def _match(layout: Layout, root: Path, folder: str) -> list[Found]:
    """Returns every image of a layout, sorted by path; hidden files are none."""
    pattern = layout.images.replace("{split}", folder)
    suffixes = "(?i:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"
    regex = re.escape(pattern).replace(r"\{suffix\}", suffixes)
    regex = regex.replace(r"\*\*/", "((?:[^/.][^/]*/)*)").replace(r"\*", r"((?!\.)[^/]*)")
    paths = sorted(root.glob(pattern.replace("{suffix}", ".*")))
    matches = ((re.fullmatch(regex, path.relative_to(root).as_posix()), path) for path in paths)
    return [Found(folder, match.groups(), path) for match, path in matches if match]


def _fill(pattern: str, stars: tuple[str, ...]) -> str:
    """Puts what the stars of the image pattern match in the place of a label pattern's."""
    values = iter(stars)
    return re.sub(r"\*\*/|\*", lambda star: next(values), pattern)


def _describe_missing(spec: DatasetSpec, root: Path, split: str, folder: str, layouts: tuple[Layout, ...]) -> str:
    suffixes = "{" + ",".join(IMAGE_SUFFIXES) + "}"
    patterns = dict.fromkeys(layout.images.replace("{split}", folder).replace("{suffix}", suffixes)
                             for layout in layouts)
    names = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    held = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "nothing"
    near = next(_better_roots(root, folder, layouts), None)
    point = f"{near}, which holds them" if near else spec.hint
    return (f"{spec.title} {split}: no image matches {' or '.join(patterns)} under {root}, which holds {held}. "
            f"Point --data_root at {point} {SEE_DATASETS}.")


def _better_roots(root: Path, folder: str, layouts: tuple[Layout, ...]) -> Iterator[Path]:
    for one in (root.parent, *sorted(root.iterdir())[:20]):
        if one.is_dir() and any(_match(layout, one, folder) for layout in layouts):
            yield one
