"""Datasets by name, their flags, and the reader, sampling and loading that all of them share."""
from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from datasets.camvid import CAMVID
from datasets.cityscapes import CITYSCAPES
from datasets.loader import default_workers, eval_loader, train_loader
from datasets.reader import Extras, Sample, SegmentationDataset, Transform, read_image, read_label
from datasets.sampling import Draw, EpochPlan, PlanSampler
from datasets.spec import IGNORED, DatasetError, DatasetSpec, Label, Layout
from datasets.streets import STREETS
from utils.flags import positive_int, suggest

__all__ = ["IGNORED", "DatasetError", "DatasetSpec", "Draw", "EpochPlan", "Label", "Layout", "PlanSampler", "Sample",
           "SegmentationDataset", "add_flags", "build", "eval_loader", "names", "read_image", "read_label", "spec",
           "train_loader"]

SPECS = {table.name: table for table in (STREETS, CITYSCAPES, CAMVID)}


def names() -> tuple[str, ...]:
    """Returns what `--dataset` takes."""
    return tuple(SPECS)


def spec(name: str) -> DatasetSpec:
    """Returns a dataset's table.

    Raises:
        DatasetError: no dataset has this name.
    """
    if name not in SPECS:
        near = suggest(name, SPECS) or "."
        raise DatasetError(f"unknown dataset {name!r}{near} --dataset takes: {', '.join(SPECS)}.")
    return SPECS[name]


def build(name: str, root: str | Path | None, split: str, transform: Transform | None = None,
          extras: Extras | None = None) -> SegmentationDataset:
    """Builds a split of a dataset.

    Raises:
        DatasetError: unknown dataset or split, or no root.
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
    """
    table = spec(name)
    if root is None:
        raise DatasetError(f"{table.title} needs --data_root: {table.hint} (see DATASETs.md).")
    return SegmentationDataset(table, root, split, transform, extras)


def add_flags(parser: ArgumentParser, training: bool = True) -> None:
    """Declares the flags of group "Data"; without `training` those of a program that scores a trained network."""
    group = parser.add_argument_group("Data")
    known = f"one of: {', '.join(SPECS)}"
    if training:
        group.add_argument("--dataset", default=STREETS.name, help=known)
        group.add_argument("--train_split", default="train", help="images that are trained on; trainval adds val")
        group.add_argument("--val_split", default="val", help="images that are scored during training; none for none")
    else:
        group.add_argument("--dataset", help=f"default: the snapshot's; {known}")
        group.add_argument("--split", default="val", help="images that are scored; without labels they are only parsed")
        group.add_argument("--max_images", type=positive_int, help="take only so many images, from the first on")
    group.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    group.add_argument("--num_workers", type=int, default=default_workers(),
                       help="processes that load images, for each process here; 0 loads in that process itself")
