"""The flags of the group "Data", and the options that they become."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.absent_classes import inspect_labels
from datasets.class_uniform.plan import check_sampling, plan_training
from datasets.extra_data import ExtraData, describe_sources, mix, seen_in_validation
from datasets.loader import BatchLoader, default_workers, eval_loader, train_loader
from datasets.partners import add_partners
from datasets.reader import Extras, JoinedDataset, SegmentationDataset, Transform
from datasets.registry import build, help_text, spec
from datasets.sampling import EpochPlan, EpochSampler
from datasets.spec import DatasetError, DatasetSpec, split_name
from datasets.tables.streets import STREETS
from utils.cli import Repeated, fraction, positive_int, whole_numbers

BAD_SAMPLE_POLICIES = ("stop", "skip")
ANNOTATIONS = ("fine", "coarse")


@dataclass(frozen=True)
class TrainingData:
    """The images of a run, and the order in which they are loaded.

    Attributes:
        train_set: the images to train on.
        val_set: the images to validate on; None without validation.
        plan: the draws of each epoch, for all ranks.
        sampler: distributes the plan over the ranks.
        loader: the batches of this rank.
    """

    train_set: SegmentationDataset | JoinedDataset
    val_set: SegmentationDataset | None
    plan: EpochPlan
    sampler: EpochSampler
    loader: BatchLoader

    def files(self) -> list[Path]:
        """Returns the files of the training images and of their labels."""
        samples = self.train_set.samples
        return [path for sample in samples for path in (sample.image, sample.label) if path]

    def describe_sources(self) -> list[dict[str, Any]]:
        """Returns what a checkpoint records of the images of --extra_data."""
        return describe_sources(self.plan, self.train_set)

    def find_problems(self) -> list[str]:
        """Returns warnings about the training images."""
        seen = seen_in_validation(self.plan, self.train_set, self.val_set)
        return [*inspect_labels(self.train_set.samples), *filter(None, [seen])]

    def load_validation(self, indices: Sequence[int]) -> Iterable[dict[str, Any]]:
        """Returns batches of one image, of the validation images with these indices."""
        assert self.val_set is not None
        return eval_loader(self.val_set, self.loader.num_workers, indices)

    @property
    def replaced_images(self) -> int:
        """How many images of this process could not be read so far, and were replaced."""
        return self.loader.skipped.total()


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data of a training.

    Args:
        spec: the dataset.
        data_root: folder that holds the dataset; the `root` of its YAML file when None.
        train_split, val_split: split to train on and to validate on; `val_split` "none" for none.
        packed: folder of a packed copy of the training split.
        cv: cross-validation split that both splits belong to; 0 is the usual one.
        on_bad_sample: "stop" or "skip" at a training image that cannot be read.
        class_uniform_pct: fraction of an epoch's crops that are class-uniform, in [0, 1].
        class_uniform_tile: side, in pixels, of the tiles that give one point for each class.
        max_cu_epoch: last epoch, counted from 1, with class-uniform crops; all when None.
        coarse_boost_classes: train ids whose class-uniform crops may come from the coarse split.
        cache_dir: folder that keeps the points of the classes; the user's cache folder when None.
        extra_data: further images of the same classes, which each epoch mixes in.
        num_workers: processes that load images, for each training process.

    Raises:
        DatasetError: an option is out of range, or does not fit the dataset.
    """

    spec: DatasetSpec
    data_root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    packed: str | None = None
    cv: int = 0
    on_bad_sample: str = "stop"
    class_uniform_pct: float = 0.0
    class_uniform_tile: int = 1024
    max_cu_epoch: int | None = None
    coarse_boost_classes: tuple[int, ...] = ()
    cache_dir: str | None = None
    extra_data: tuple[ExtraData, ...] = ()
    num_workers: int = 0

    def __post_init__(self) -> None:
        _check_num_workers(self.num_workers)
        if self.on_bad_sample not in BAD_SAMPLE_POLICIES:
            raise DatasetError(f"--on_bad_sample {self.on_bad_sample} is unknown: give one of "
                               f"{', '.join(BAD_SAMPLE_POLICIES)}.")
        if not 0 <= self.class_uniform_pct <= 1:
            raise DatasetError(f"--class_uniform_pct {self.class_uniform_pct} is out of range: "
                               "give a fraction from 0 to 1.")
        for flag, value in (("class_uniform_tile", self.class_uniform_tile),
                            ("max_cu_epoch", self.max_cu_epoch)):
            if value is not None and value < 1:
                raise DatasetError(f"--{flag} {value} is out of range: give 1 or more.")
        check_sampling(self.spec, self.class_uniform_pct, self.coarse_boost_classes)
        for extra in self.extra_data:
            extra.check_classes(self.spec)

    @classmethod
    def from_args(cls, args: Namespace) -> DataOptions:
        """Raises DatasetError also where `--dataset` is unknown or its YAML file is invalid."""
        return cls(
            spec=spec(args.dataset),
            data_root=args.data_root,
            train_split=args.train_split,
            val_split=args.val_split,
            packed=args.packed,
            cv=args.cv,
            on_bad_sample=args.on_bad_sample,
            class_uniform_pct=args.class_uniform_pct,
            class_uniform_tile=args.class_uniform_tile,
            max_cu_epoch=args.max_cu_epoch,
            coarse_boost_classes=tuple(args.coarse_boost_classes),
            cache_dir=args.cache_dir,
            extra_data=tuple(map(ExtraData.parse, args.extra_data)),
            num_workers=args.num_workers,
        )

    def eval_flags(self) -> list[str]:
        """Returns the flags of eval.py for the images that the run was validated on.

        Without validation, these are test, val, another split, or else that of training: the first
        that has labels and files.
        """
        if self.val_split == "none":
            split = self._scorable_split()
        else:
            split = split_name(self.spec, self.val_split, fold=self.cv)
        root = ["--data_root", self.data_root] if self.data_root else []
        return ["--dataset", self.spec.source or self.spec.name, *root, "--split", split]

    def _scorable_split(self) -> str:
        trained_on = split_name(self.spec, self.train_split, fold=self.cv)
        others = [split for split in self.spec.splits if split not in (trained_on, "trainval")]
        # the sort is stable; False comes first
        others.sort(key=lambda split: (split != "test", split != "val", "_" in split))
        return next(filter(self._has_labels, others), trained_on)

    def _has_labels(self, split: str) -> bool:
        if split in self.spec.unlabeled:
            return False
        try:
            return bool(build(self.spec, self.data_root, split).samples)
        except (DatasetError, OSError):
            return False

    @property
    def skip_bad(self) -> bool:
        """Whether another image replaces a training image that cannot be read."""
        return self.on_bad_sample == "skip"

    def build_train_set(self, transform: Transform, extras: Extras | None,
                        seed: int) -> tuple[SegmentationDataset | JoinedDataset, EpochPlan]:
        """Returns the training images, joined by other ones on request, and their plan.

        Args:
            transform, extras: as for `SegmentationDataset`.
            seed: of the order in which each epoch draws the images.

        Raises:
            ValueError: the split is unknown, or the files do not fit the dataset.
            OSError: files are missing.
        """
        split = split_name(self.spec, self.train_split, fold=self.cv)
        data = build(self.spec, self.data_root, split, transform, extras, self.packed)
        add_partners(data, class_uniform_tile=self.class_uniform_tile, cache_dir=self.cache_dir,
                     num_workers=self.num_workers, skip_bad=self.skip_bad)
        images, plan = plan_training(
            data,
            seed,
            class_uniform_pct=self.class_uniform_pct,
            class_uniform_tile=self.class_uniform_tile,
            max_cu_epoch=self.max_cu_epoch,
            coarse_boost_classes=self.coarse_boost_classes,
            cache_dir=self.cache_dir,
            num_workers=self.num_workers,
            skip_bad=self.skip_bad,
        )
        others = [extra.build(self.data_root, transform, extras) for extra in self.extra_data]
        for other in others:
            other.partners = data.partners
        return mix(images, plan, self.extra_data, others)

    def build_training(self, transform: Transform, extras: Extras | None, *, seed: int,
                       batch_size: int, rank: int, world_size: int) -> TrainingData:
        """Builds the data of a run. Raises as `build_train_set` does.

        Args:
            transform, extras, seed: as for `build_train_set`.
            batch_size: number of images of a step in each process.
            rank, world_size: of this process.
        """
        train_set, plan = self.build_train_set(transform, extras, seed)
        val_set = self.build_val_set()
        sampler = EpochSampler(plan, batch_size, rank, world_size)
        loader = train_loader(train_set, sampler, self.num_workers, skip_bad=self.skip_bad)
        return TrainingData(train_set, val_set, plan, sampler, loader)

    def build_val_set(self) -> SegmentationDataset | None:
        """Returns the images to validate on; None for `--val_split none`. Raises as `build` does.
        """
        if self.val_split == "none":
            return None
        split = split_name(self.spec, self.val_split, fold=self.cv)
        return build(self.spec, self.data_root, split)


@dataclass(frozen=True, kw_only=True)
class EvalDataOptions:
    """The data of a program that predicts with a trained network.

    Args:
        dataset: name or YAML file; the dataset that the network was trained on when None.
        data_root: folder that holds the dataset; the `root` of its YAML file when None.
        split: images to predict.
        mode: "fine" or "coarse" annotations to compare with.
        cv_split: cross-validation split that `split` belongs to; 0 is the usual one.
        max_images: number of images to predict, from the first on; all when None.
        num_workers: processes that load images, for each process here.

    Raises:
        DatasetError: an option is out of range.
    """

    dataset: str | None = None
    data_root: str | None = None
    split: str = "val"
    mode: str = "fine"
    cv_split: int = 0
    max_images: int | None = None
    num_workers: int = 0

    def __post_init__(self) -> None:
        _check_num_workers(self.num_workers)
        if self.mode not in ANNOTATIONS:
            raise DatasetError(f"--mode {self.mode} is unknown: give one of "
                               f"{', '.join(ANNOTATIONS)}.")
        if self.max_images is not None and self.max_images < 1:
            raise DatasetError(f"--max_images {self.max_images} is out of range: give 1 or more.")

    @classmethod
    def from_args(cls, args: Namespace) -> EvalDataOptions:
        return cls(
            dataset=args.dataset,
            data_root=args.data_root,
            split=args.split,
            mode=args.mode,
            cv_split=args.cv_split,
            max_images=args.max_images,
            num_workers=args.num_workers,
        )

    def build(self, dataset_spec: DatasetSpec) -> SegmentationDataset:
        """Builds the split of a dataset, all its images. Raises as `datasets.build` does."""
        split = split_name(dataset_spec, self.split, fold=self.cv_split, annotations=self.mode)
        return build(dataset_spec, self.data_root, split)


def add_flags(parser: ArgumentParser, training: bool = True) -> None:
    """Declares the flags of `DataOptions`, or without `training` those of `EvalDataOptions`."""
    group = parser.add_argument_group("Data")
    if training:
        _add_training_flags(group)
        _add_sampling_flags(group)
    else:
        _add_eval_flags(group)
    group.add_argument(
        "--data_root", help="folder that holds the dataset, laid out as in DATASETs.md")
    group.add_argument(
        "--num_workers", type=int, default=default_workers(),
        help="processes that load images, for each process here; 0 loads in the process itself")


def _add_training_flags(group: _ArgumentGroup) -> None:
    group.add_argument("--dataset", default=STREETS.name, help=help_text())
    group.add_argument(
        "--train_split", default="train", help="split to train on; trainval adds val")
    group.add_argument(
        "--packed", metavar="DIR",
        help="packed copy of the training split, made by tools.pack_dataset: the same samples, "
        "read several times faster")
    group.add_argument(
        "--val_split", default="val", help="split to validate on during training; none for none")
    group.add_argument(
        "--cv", type=int, default=0,
        help="cross-validation split, for datasets that have several: which images are train and "
        "which are val; 0 is the usual one")
    group.add_argument(
        "--extra_data", action=Repeated, default=(), metavar="YAML[:SPLIT][:WEIGHT]",
        help="further training images of the same classes, such as pseudo-labels; may be repeated. "
        "Each epoch draws WEIGHT times their number of them (default: 1, each image once), from "
        "SPLIT (default: train, or the only one)")
    group.add_argument(
        "--on_bad_sample", choices=BAD_SAMPLE_POLICIES, default="stop",
        help="at a training image that is missing or damaged: stop the run, or log it and use "
        "another image")


def _add_sampling_flags(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--class_uniform_pct", type=fraction, default=0.0,
        help="fraction of an epoch's crops, 0 to 1, that contain a point of a chosen class, each "
        "class equally often")
    group.add_argument(
        "--class_uniform_tile", type=positive_int, default=1024,
        help="side, in pixels of the label, of the tiles that give one point for each class in "
        "them")
    group.add_argument(
        "--max_cu_epoch", type=positive_int,
        help="last epoch, counted from 1, with class-uniform crops; later epochs draw each image "
        "once (default: all epochs have them)")
    group.add_argument(
        "--coarse_boost_classes", type=whole_numbers, default=(), metavar="ID,ID",
        help="train ids whose class-uniform crops also come from the coarsely labeled images")
    group.add_argument(
        "--cache_dir",
        help="folder that keeps the points of the classes between runs (default: sfsegnets in the "
        "user's cache folder, usually ~/.cache)")


def _add_eval_flags(group: _ArgumentGroup) -> None:
    group.add_argument("--dataset", help=f"default: the snapshot's; {help_text()}")
    group.add_argument(
        "--split", default="val",
        help="split to evaluate; images without labels are only predicted")
    group.add_argument(
        "--mode", choices=ANNOTATIONS, default="fine",
        help="annotations to evaluate against, for datasets that have both (Cityscapes)")
    group.add_argument(
        "--cv_split", type=int, default=0,
        help="cross-validation split that --split belongs to")
    group.add_argument(
        "--max_images", type=positive_int, help="use only this many images, from the first on")


def _check_num_workers(num_workers: int) -> None:
    if num_workers < 0:
        raise DatasetError(f"--num_workers {num_workers} is out of range: give 0 or more.")
