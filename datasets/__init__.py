"""Datasets by name, their flags, and the reader, sampling and loading that all of them share."""
from __future__ import annotations

from argparse import ArgumentParser, _ArgumentGroup
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.class_uniform.plan import ClassUniformPlan, check_sampling, plan_training
from datasets.joined import JoinedDataset
from datasets.listing import Sample
from datasets.loader import default_workers, eval_loader, train_loader
from datasets.packed import Pack
from datasets.reader import Extras, SegmentationDataset, Transform, read_image, read_label
from datasets.sampling import EpochPlan, EpochSampler, SampleDraw
from datasets.spec import IGNORED, ClassInfo, DatasetError, DatasetSpec, Layout
from datasets.tables.ade20k import ADE20K
from datasets.tables.bdd100k import BDD100K
from datasets.tables.camvid import CAMVID, CAMVID_FULL
from datasets.tables.cityscapes import CITYSCAPES
from datasets.tables.idd import IDD, IDD26
from datasets.tables.kitti import KITTI
from datasets.tables.mapillary import MAPILLARY
from datasets.tables.pascal_context import PASCAL_CONTEXT, PASCAL_CONTEXT_60
from datasets.tables.streets import STREETS
from datasets.tables.uds import UDS
from datasets.yaml_spec import SUFFIXES, from_description, from_yaml, same
from utils.cli import fraction, positive_int, suggest, whole_numbers

__all__ = [
    "IGNORED",
    "ClassInfo",
    "ClassUniformPlan",
    "DatasetError",
    "DatasetSpec",
    "EpochPlan",
    "EpochSampler",
    "JoinedDataset",
    "Layout",
    "Sample",
    "SampleDraw",
    "SegmentationDataset",
    "add_flags",
    "annotated",
    "build",
    "check_sampling",
    "default_workers",
    "eval_loader",
    "fold",
    "names",
    "plan_training",
    "read_image",
    "read_label",
    "same",
    "spec",
    "train_loader",
]

SPECS = {table.name: table for table in (
    STREETS, CITYSCAPES, CAMVID, CAMVID_FULL, BDD100K, IDD, IDD26, MAPILLARY, KITTI, UDS, ADE20K, PASCAL_CONTEXT,
    PASCAL_CONTEXT_60)}
KNOWN = f"one of: {', '.join(SPECS)}; or a YAML file that describes one's own"


def names() -> tuple[str, ...]:
    """Returns what `--dataset` takes."""
    return tuple(SPECS)


def spec(dataset: str | Mapping[str, Any] | DatasetSpec) -> DatasetSpec:
    """Returns a dataset's table.

    Args:
        dataset: a name, the path of a YAML file, what a checkpoint kept of such a file, or a table as it is.

    Raises:
        DatasetError: no dataset has this name, or the description is wrong.
    """
    if isinstance(dataset, DatasetSpec):
        return dataset
    if isinstance(dataset, Mapping):
        return from_description(dict(dataset), f"the snapshot's dataset {dataset.get('name')}")
    if dataset.lower().endswith(SUFFIXES):
        return from_yaml(dataset)
    if dataset not in SPECS:
        near = suggest(dataset, SPECS) or "."
        raise DatasetError(f"unknown dataset {dataset!r}{near} --dataset takes: {', '.join(SPECS)}; or a YAML file "
                           "(see DATASETs.md).")
    return SPECS[dataset]


def build(dataset: str | Mapping[str, Any] | DatasetSpec, root: str | Path | None, split: str,
          transform: Transform | None = None, extras: Extras | None = None,
          packed: str | Path | None = None) -> SegmentationDataset:
    """Builds a split of a dataset; without a root, where its YAML file says that it is.

    Args:
        packed: folder of a packed copy, from which its pairs are read.

    Raises:
        DatasetError: unknown dataset or split, no root, or a pack that is unfinished, damaged or of other data.
        FileNotFoundError: the root is missing, holds another layout, or lacks labels.
    """
    table = spec(dataset)
    root = root or table.root
    if root is None:
        raise DatasetError(f"{table.title} needs --data_root: {table.hint} (see DATASETs.md).")
    data = SegmentationDataset(table, root, split, transform, extras)
    if packed is not None:
        data.pack = Pack(packed, data)
    return data


def annotated(dataset: DatasetSpec, split: str, mode: str) -> str:
    """Returns the name of a split with "fine" or "coarse" annotations.

    Raises:
        DatasetError: the dataset has no coarse annotations of this split.
    """
    if mode == "fine" or split == dataset.coarse_split:
        return split
    if f"{split}_{mode}" not in dataset.splits:
        raise DatasetError(f"{dataset.title} has no {mode} annotations of {split}: leave --mode out.")
    return f"{split}_{mode}"


def fold(dataset: DatasetSpec, split: str, number: int) -> str:
    """Returns the name of a split in one of the dataset's cross-validation splits; number 0 is the usual one.

    Raises:
        DatasetError: the dataset, or this split of it, has no such fold.
    """
    if number == 0:
        return split
    name = f"{split}_cv{number}"
    if name not in dataset.splits:
        have = [one for one in dataset.splits if "_cv" in one]
        raise DatasetError(f"{dataset.title} has no cross-validation split {number} of {split}: "
                           + (f"it has {', '.join(have)}." if have else "it has none at all; leave --cv out."))
    return name


def add_flags(parser: ArgumentParser, training: bool = True) -> None:
    """Declares the flags of group "Data"; without `training` those of a program that scores a trained network."""
    group = parser.add_argument_group("Data")
    if training:
        group.add_argument("--dataset", default=STREETS.name, help=KNOWN)
        group.add_argument("--train_split", default="train", help="images that are trained on; trainval adds val")
        group.add_argument("--packed", metavar="DIR", help="packed copy of the training split, made by "
                           "tools.pack_dataset: the same samples, read several times faster")
        group.add_argument("--val_split", default="val", help="images that are scored during training; none for none")
        group.add_argument("--cv", type=int, default=0, help="cross-validation split, of datasets that have several: "
                           "which images are train and which are val; 0 is the usual one")
        group.add_argument("--on_bad_sample", choices=("stop", "skip"), default="stop", help="what a training image "
                           "that went away or is damaged does: stop the run, or be reported and replaced by another")
        _add_sampling_flags(group)
    else:
        group.add_argument("--dataset", help=f"default: the snapshot's; {KNOWN}")
        group.add_argument("--split", default="val", help="images that are scored; without labels they are only parsed")
        group.add_argument("--mode", choices=("fine", "coarse"), default="fine", help="annotations that are scored "
                           "against, of datasets that have both (Cityscapes)")
        group.add_argument("--cv_split", type=int, default=0, help="cross-validation split that --split belongs to")
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
