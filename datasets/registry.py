"""The table of datasets: name -> spec; `build` opens a split."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.packed import Pack
from datasets.reader import Extras, SegmentationDataset, Transform
from datasets.spec import DatasetError, DatasetSpec
from datasets.tables.acdc import ACDC
from datasets.tables.ade20k import ADE20K
from datasets.tables.bdd100k import BDD100K
from datasets.tables.camvid import CAMVID, CAMVID_FULL
from datasets.tables.cityscapes import CITYSCAPES
from datasets.tables.idd import IDD, IDD26
from datasets.tables.idd_lite import IDD_LITE
from datasets.tables.kitti import KITTI
from datasets.tables.mapillary import MAPILLARY
from datasets.tables.pascal_context import PASCAL_CONTEXT, PASCAL_CONTEXT_60
from datasets.tables.streets import STREETS
from datasets.tables.uds import UDS
from datasets.yaml_spec import SUFFIXES, from_description, from_yaml
from utils.cli import suggest

SPECS = {spec.name: spec for spec in (
    STREETS,
    CITYSCAPES,
    CAMVID,
    CAMVID_FULL,
    BDD100K,
    IDD,
    IDD26,
    IDD_LITE,
    MAPILLARY,
    KITTI,
    ACDC,
    UDS,
    ADE20K,
    PASCAL_CONTEXT,
    PASCAL_CONTEXT_60,
)}


def names() -> tuple[str, ...]:
    """Returns the names that `--dataset` accepts."""
    return tuple(SPECS)


def help_text() -> str:
    """Returns the values that `--dataset` accepts, for help texts."""
    return f"one of: {', '.join(SPECS)}; or a YAML file that describes your own dataset"


def spec(dataset: str | Mapping[str, Any] | DatasetSpec, flag: str = "--dataset") -> DatasetSpec:
    """Returns the spec of a dataset.

    Args:
        dataset: a name, the path of a YAML file, the description of a YAML file that a checkpoint
            holds, or a spec, which is returned unchanged.
        flag: gave a name or a path; named in messages.

    Raises:
        DatasetError: the name is unknown, or the description is invalid.
    """
    if isinstance(dataset, DatasetSpec):
        return dataset
    if isinstance(dataset, Mapping):
        return from_description(dict(dataset), f"the snapshot's dataset {dataset.get('name')}")
    if dataset.lower().endswith(SUFFIXES):
        return from_yaml(dataset, flag)
    if dataset not in SPECS:
        suggestion = suggest(dataset, SPECS) or "."
        raise DatasetError(f"unknown dataset {dataset!r}{suggestion} {flag} takes: "
                           f"{', '.join(SPECS)}; or a YAML file (see DATASETs.md).")
    return SPECS[dataset]


def build(dataset: str | Mapping[str, Any] | DatasetSpec, root: str | Path | None, split: str,
          transform: Transform | None = None, extras: Extras | None = None,
          packed: str | Path | None = None) -> SegmentationDataset:
    """Builds one split of a dataset.

    Args:
        dataset: as for `spec`.
        root: folder that holds the files; the `root` of the dataset's YAML file when None.
        transform, extras: as for `SegmentationDataset`.
        packed: folder of a packed copy of the split, which is read instead of the files.

    Raises:
        DatasetError: the dataset or the split is unknown, the root is missing, or the packed copy
            is unfinished, damaged or made from other data.
        FileNotFoundError: the root does not exist, has another layout, or lacks labels.
    """
    dataset_spec = spec(dataset)
    root = root or dataset_spec.root
    if root is None:
        raise DatasetError(f"{dataset_spec.title} needs --data_root: {dataset_spec.hint} "
                           "(see DATASETs.md).")
    data = SegmentationDataset(dataset_spec, root, split, transform, extras)
    if packed is not None:
        data.source = Pack(packed, data)
    return data
