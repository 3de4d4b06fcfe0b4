"""Makes a dataset of annotation files: `python -m tools.import_labels FORMAT SOURCE --out DIR`."""
from __future__ import annotations

import logging
import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from datasets.spec import UNKNOWN, ClassInfo, DatasetError
from tools.import_labels.drawing import OVERLAPS, Tally, draw
from tools.import_labels.formats import FORMATS
from tools.import_labels.pictures import Pictures, checked_size, name_of
from tools.import_labels.shapes import IGNORED_NAME, AnnotatedImage, Annotations
from tools.import_labels.summary import describe
from tools.import_labels.writing import Folder, crop_size_for, with_colors
from utils import IGNORE_LABEL
from utils.cli import FlagParser, add_switch, fraction, run_program
from utils.logs import track

log = logging.getLogger("import_labels")


def build_parser() -> FlagParser:
    formats = "; ".join(f"{name}: {row.help}" for name, row in FORMATS.items())
    parser = FlagParser(
        prog="python -m tools.import_labels",
        description="Make a dataset for --dataset of the labels that an annotation tool exported. "
                    f"FORMAT and SOURCE are {formats}.")
    parser.add_argument("format", choices=FORMATS, metavar="FORMAT",
                        help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the exported file or folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="gets images/, labels/ and dataset.yaml; a second import adds or "
                             "replaces splits")
    images = parser.add_argument_group("Images and splits")
    images.add_argument("--images", type=Path, metavar="DIR",
                        help="folder of the images (default: beside the labels)")
    add_switch(images, "--skip_missing", default=False,
               help="leave out labels whose image is missing, instead of stopping")
    images.add_argument("--split", type=_split, metavar="NAME",
                        help="put all images into this split (default: as the files say, or train "
                             "and val)")
    images.add_argument("--val", type=fraction, default=0.1, metavar="SHARE",
                        help="share of the images for val, spread evenly, where the files name no "
                             "splits")
    classes = parser.add_argument_group("Classes")
    classes.add_argument("--classes", nargs="+", type=_class, metavar="NAME",
                         help="the classes, in order; NAME=LABEL,LABEL joins labels of the tool. "
                              "Other labels become ignored areas (default: all labels)")
    classes.add_argument("--background", metavar="NAME",
                         help="class of the pixels that no shape covers (default: ignored)")
    classes.add_argument("--overlap", choices=OVERLAPS,
                         help="what counts where shapes of two classes overlap: the last one drawn "
                              "(default), the smallest (default for coco and yolo), or ignore the "
                              "pixels")
    classes.add_argument("--table", type=Path, metavar="FILE",
                         help="colors of voc, cvat_masks and color: lines of name,red,green,blue "
                              "(default: labelmap.txt or class_dict.csv)")
    classes.add_argument("--masks", type=Path, metavar="DIR",
                         help="PNG files of coco's panoptic segments (default: the folder beside "
                              "the JSON file that has its name)")
    return parser


def is_split_name(text: str) -> bool:
    """Returns whether a split can have this name, which is also that of its folders."""
    return bool(re.fullmatch(r"\w[\w.-]*", text)) and text not in ("none", "trainval")


def _split(text: str) -> str:
    if not is_split_name(text):
        raise ArgumentTypeError(f"{text!r} is no name of a split: use letters, digits, '_', '-'")
    return text


def _class(text: str) -> tuple[str, tuple[str, ...]]:
    """Reads NAME, or NAME=LABEL,LABEL, as a name and its labels."""
    name, equals, labels = text.partition("=")
    named = tuple(filter(None, labels.split(","))) if equals else (name,)
    if not name or not named:
        raise ArgumentTypeError(f"{text!r} is neither NAME nor NAME=LABEL,LABEL")
    return name, named


@dataclass(frozen=True)
class Options:
    """What is imported, and how; the fields are the flags of the same name.

    Args:
        classes: (name, labels of the tool) in order; None for all labels.

    Raises:
        ValueError: a label belongs to two classes, or a flag does not go with the format.
    """

    format: str
    source: Path
    out: Path
    images: Path | None
    skip_missing: bool
    split: str | None
    val: float
    classes: Sequence[tuple[str, Sequence[str]]] | None
    background: str | None
    overlap: str
    table: Path | None
    masks: Path | None

    def __post_init__(self) -> None:
        labels = [label for _, labels in self.classes or () for label in labels]
        names = [name for name, _ in self.classes or ()]
        for values, noun in ((labels, "label"), (names, "class")):
            repeated = next((value for value in values if values.count(value) > 1), None)
            if repeated is not None:
                raise ValueError(f"--classes names the {noun} {repeated!r} twice")
        if self.table and self.format not in ("voc", "cvat_masks", "color"):
            raise ValueError("--table goes with voc, cvat_masks and color only")
        if self.masks and self.format != "coco":
            raise ValueError("--masks goes with coco only")

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        """Reads the flags of `build_parser`."""
        flags = {**vars(args), "overlap": args.overlap or FORMATS[args.format].overlap}
        return cls(**flags)

    def read(self) -> Annotations:
        """Reads the annotation files. Raises DatasetError if they are invalid."""
        if not self.source.exists():
            raise DatasetError(f"{self.source} does not exist: name the {self.format} labels.")
        annotations = FORMATS[self.format].read(self.source, self.masks, self.table)
        if not annotations.images:
            raise DatasetError(f"{self.source} holds no labeled image.")
        return annotations

    def image_folder(self) -> Path:
        """Returns the folder of the images. Raises DatasetError if it is not known."""
        folder = self.images or FORMATS[self.format].images(self.source)
        if folder is None or not folder.is_dir():
            state = f"{folder} is no folder" if folder else "the labels do not say where they are"
            raise DatasetError(f"images: {state}. Name their folder with --images.")
        return folder


class Item(NamedTuple):
    """An image with labels, and its place in the dataset."""

    name: PurePosixPath
    image: Path
    size: tuple[int, int]
    annotated: AnnotatedImage


def run(args: Namespace) -> None:
    """Imports the labels. Raises ValueError or OSError if something is invalid."""
    options = Options.from_args(args)
    folder = Folder(options.out)
    annotations = options.read()
    classes, ids = choose_classes(options, annotations, folder.classes)
    items = find_items(options, annotations)
    splits = choose_splits(options, items)
    names = [info.name for info in classes]
    background = names.index(options.background) if options.background else IGNORE_LABEL
    tally = Tally()
    with folder.fill():
        for item, split in zip(track(items, len(items), "images"), splits, strict=True):
            label = draw(item.annotated.load(), ids, item.size, options.overlap, tally, background)
            folder.add(split, item.name, item.image, label)
        if not options.background and not any(tally.pixels[train_id] for train_id in ids.values()):
            raise DatasetError(f"no pixel belongs to {', '.join(names)}: the labels of "
                               f"{options.source} are {', '.join(annotations.classes)}.")
        path = folder.finish(classes, crop_size_for([item.size for item in items]),
                             f"python -m tools.import_labels {options.format} {options.source}")
    log.info("%s", describe(path, classes, splits, tally, annotations, options.overlap,
                            options.background))


def choose_classes(options: Options, annotations: Annotations,
                   earlier: Sequence[ClassInfo]) -> tuple[list[ClassInfo], dict[str, int]]:
    """Returns the classes in the order of their train ids, and label of the tool -> train id.

    Args:
        earlier: classes of an earlier import into the folder, which stay.

    Raises:
        DatasetError: a class has no label, or there are none, or too many, or others than before.
    """
    labels = [name for name in annotations.classes if name != IGNORED_NAME]
    chosen = [*(options.classes or [(name, (name,)) for name in labels])]
    for name, members in options.classes or ():
        if missing := [label for label in members if label not in labels]:
            raise DatasetError(f"--classes {name}: the files have no label {missing[0]!r}; they "
                               f"have {', '.join(map(repr, labels)) or 'none'}.")
    names = [name for name, _ in chosen]
    if options.background and options.background not in names:
        names.insert(0, options.background)
    if earlier:
        known = [info.name for info in earlier]
        if new := [name for name in names if name not in known]:
            raise DatasetError(f"--out {options.out} has the classes {', '.join(known)}, but not "
                               f"{', '.join(new)}: give all imports the same --classes, or name "
                               "another folder.")
        names = known
    if not 1 <= len(names) <= UNKNOWN:
        raise DatasetError(f"{options.source} has {len(names)} classes, but a dataset has 1 to "
                           f"{UNKNOWN}: choose them with --classes.")
    colors = {**annotations.classes, **{info.name: info.rgb for info in earlier}}
    for name, members in chosen:
        colors.setdefault(name, annotations.classes.get(members[0]))
    ids = {label: names.index(name) for name, members in chosen for label in members}
    return with_colors(names, colors), ids


def find_items(options: Options, annotations: Annotations) -> list[Item]:
    """Returns the images that are imported, in order of their names.

    Images without a shape are left out, unless there is a background.

    Raises:
        DatasetError: images are missing, are of another size than their labels, or have one name.
    """
    pictures = Pictures([options.image_folder()] if options.images or options.format != "yolo"
                        else [])
    items: dict[tuple[str, PurePosixPath], Item] = {}
    missing: list[AnnotatedImage] = []
    for annotated in annotations.images:
        image = pictures.find(annotated)
        if image is None:
            missing.append(annotated)
            continue
        if annotated.is_empty and not options.background:
            annotations.leave_out_image("images without a shape")
            continue
        name = name_of(annotated, image)
        # as in `choose_splits`: where some files name splits, the others belong to train
        key = (options.split or annotated.split or "train", name)
        if key in items:
            raise DatasetError(f"{items[key].image} and {image} would have the same label file "
                               f"{name}.png: rename one of them.")
        items[key] = Item(name, image, checked_size(annotated, image), annotated)
    if missing and not options.skip_missing:
        raise DatasetError(
            f"{len(missing)} of {len(annotations.images)} images are missing, such as "
            f"{missing[0].file} of {missing[0].source}: name their folder with --images, or leave "
            "them out with --skip_missing.")
    annotations.leave_out_image("images whose file is missing", len(missing))
    if not items:
        raise DatasetError(f"no image of {options.source} can be imported: "
                           f"{annotations.images_left_out}.")
    return [items[key] for key in sorted(items)]


def choose_splits(options: Options, items: Sequence[Item]) -> list[str]:
    """Returns the split of each image: `--split`, or that of its file, or train and val.

    Raises:
        DatasetError: the name of a split in a file cannot be that of a folder.
    """
    if options.split:
        return [options.split] * len(items)
    for annotated in (item.annotated for item in items):
        if annotated.split and not is_split_name(annotated.split):
            raise DatasetError(f"{annotated.source}: {annotated.file} belongs to the split "
                               f"{annotated.split!r}, which is no name of a split: rename it with "
                               "letters, digits, '_' or '-', or put all images into one split with "
                               "--split.")
    named = [item.annotated.split for item in items]
    if any(named):
        return [split or "train" for split in named]
    count = round(options.val * len(items))
    if options.val and len(items) > 1:
        count = min(max(count, 1), len(items) - 1)
    # evenly spread: image i is in val where i count / n passes a whole number
    passed = np.arange(len(items) + 1) * count // len(items)
    return ["val" if step else "train" for step in np.diff(passed).tolist()]


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.import_labels", partial(run, args),
                       resume="run the same command again")


if __name__ == "__main__":
    sys.exit(main())
