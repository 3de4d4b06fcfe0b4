"""Datasets by name, their flags, and the reader, sampling and loading that all of them share."""
from __future__ import annotations

from argparse import ArgumentParser, _ArgumentGroup
from pathlib import Path

from datasets.camvid import CAMVID
from datasets.cityscapes import CITYSCAPES
from datasets.class_uniform import ClassUniformPlan, check_sampling, plan_training
from datasets.joined import JoinedDataset
from datasets.loader import default_workers, eval_loader, train_loader
from datasets.reader import Extras, Sample, SegmentationDataset, Transform, read_image, read_label
from datasets.sampling import Draw, EpochPlan, PlanSampler
from datasets.spec import IGNORED, DatasetError, DatasetSpec, Label, Layout
from datasets.streets import STREETS
from utils.flags import fraction, positive_int, suggest, whole_numbers

__all__ = ["IGNORED", "ClassUniformPlan", "DatasetError", "DatasetSpec", "Draw", "EpochPlan", "JoinedDataset", "Label",
           "Layout", "PlanSampler", "Sample", "SegmentationDataset", "add_flags", "build", "check_sampling",
           "eval_loader", "names", "plan_training", "read_image", "read_label", "spec", "train_loader"]

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
        _add_sampling_flags(group)
    else:
        group.add_argument("--dataset", help=f"default: the snapshot's; {known}")
        group.add_argument("--split", default="val", help="images that are scored; without labels they are only parsed")
        group.add_argument("--max_images", type=positive_int, help="take only so many images, from the first on")
    group.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    group.add_argument("--num_workers", type=int, default=default_workers(),
                       help="processes that load images, for each process here; 0 loads in that process itself")


def _add_sampling_flags(group: _ArgumentGroup) -> None:
    group.add_argument("--class_uniform_pct", type=fraction, default=0.0, help="share of an epoch's crops, 0 to 1, "
                       "that are taken around points of the classes, each class equally often")
    group.add_argument("--class_uniform_tile", type=positive_int, default=1024, help="side, in pixels of the label, of "
                       "the tiles that give one point for each class in them")
    group.add_argument("--max_cu_epoch", type=positive_int, help="the last epoch, counted from 1, with class-uniform "
                       "crops; later ones draw each image once (default: all epochs have them)")
    group.add_argument("--coarse_boost_classes", type=whole_numbers, default=(), metavar="ID,ID", help="train ids "
                       "whose class-uniform crops come from the coarsely labelled images, too")
    group.add_argument("--cache_dir", help="folder that keeps the classes' points between runs (default: sfsegnets in "
                       "the user's cache folder, mostly ~/.cache)")
