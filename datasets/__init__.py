"""Datasets by name, their flags, and the reader, sampling and loading that all of them share."""
from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from datasets.camvid import CAMVID
from datasets.cityscapes import CITYSCAPES
from datasets.loader import default_workers, eval_loader, train_loader
from datasets.reader import Sample, SegmentationDataset, Transform, read_image, read_label
from datasets.sampling import Draw, EpochPlan, PlanSampler
from datasets.spec import IGNORED, DatasetError, DatasetSpec, Label, Layout
from datasets.streets import STREETS
from utils.flags import suggest

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


def build(name: str, root: str | Path | None, split: str, transform: Transform | None = None) -> SegmentationDataset:
    """Builds a split of a dataset.

    Raises:
        DatasetError: unknown dataset or split, or no root.
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
    """
    table = spec(name)
    if root is None:
        raise DatasetError(f"{table.title} needs --data_root: {table.hint} (see DATASETs.md).")
    return SegmentationDataset(table, root, split, transform)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Data"."""
    group = parser.add_argument_group("Data")
    group.add_argument("--dataset", default=STREETS.name, help=f"one of: {', '.join(SPECS)}")
    group.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    group.add_argument("--train_split", default="train", help="images that are trained on; trainval is train and val")
    group.add_argument("--val_split", default="val", help="images that are scored during training; none for none")
    group.add_argument("--num_workers", type=int, default=default_workers(),
                       help="processes that load images, for each training process; 0 loads in that process itself")
