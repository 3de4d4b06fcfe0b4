"""Further training images beside those of `--train_split`, mixed into each epoch."""
from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from datasets.reader import Extras, JoinedDataset, SegmentationDataset, Transform
from datasets.registry import SPECS, build, spec
from datasets.sampling import Choice, EpochPlan, SampleDraw
from datasets.spec import DatasetError, DatasetSpec
from datasets.yaml_spec import SUFFIXES

# streams of random numbers that no other plan uses
ORDER_STREAM, PASSES_STREAM = 1, 1


@dataclass(frozen=True)
class ExtraData:
    """A split whose images are mixed into the epochs.

    Args:
        spec: its dataset.
        split: of the dataset.
        weight: an epoch draws round(weight * images) of its images. They are drawn in shuffled
            passes that go on from epoch to epoch, so with 0.25 four epochs draw each image once.

    Raises:
        DatasetError: the split is unknown or has no labels, or the weight is not a number above 0.
    """

    spec: DatasetSpec
    split: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        self.spec.require(self.split)
        if self.split in self.spec.unlabeled:
            raise DatasetError(f"--extra_data {self.title} has no labels to train on: label its "
                               "images with tools.pseudo_label, and give the dataset.yaml that it "
                               "writes.")
        if not 0 < self.weight < math.inf:
            raise DatasetError(f"--extra_data {self.title}: the weight {self.weight:g} is out of "
                               "range: give a number above 0, such as 0.5, or leave the data out.")

    @classmethod
    def parse(cls, text: str) -> ExtraData:
        """Reads `YAML[:SPLIT][:WEIGHT]`. The path may have colons, a dataset's name stands for it.

        Raises:
            DatasetError: the dataset, the split or the weight is invalid.
        """
        source, split, weight = text, "", 1.0
        head, _, tail = source.rpartition(":")
        if head and _is_number(tail):
            source, weight = head, float(tail)
            head, _, tail = source.rpartition(":")
        if head in SPECS or head.lower().endswith(SUFFIXES):
            source, split = head, tail
        dataset_spec = spec(source, flag="--extra_data")
        return cls(dataset_spec, split or _default_split(dataset_spec), weight)

    @property
    def title(self) -> str:
        """The dataset as the flag names it, and the split."""
        return f"{self.spec.source or self.spec.name} {self.split}"

    def check_classes(self, main: DatasetSpec) -> None:
        """Raises DatasetError unless the classes are those of the dataset, in the same order."""
        if self.spec.names == main.names:
            return
        others = [f"{number} is {name}, not {expected}" for number, (name, expected)
                  in enumerate(zip(self.spec.names, main.names, strict=False)) if name != expected]
        counts = f"{self.spec.num_classes} classes, not {main.num_classes}"
        raise DatasetError(
            f"--extra_data {self.title} has other classes than {main.source or main.name}: "
            f"{f'train id {others[0]}' if others else counts}. Label its images with a network of "
            "the same classes, or list them in the YAML file in the same order.")

    def build(self, data_root: str | None, transform: Transform | None,
              extras: Extras | None) -> SegmentationDataset:
        """Opens the split; the arguments are those of `datasets.build`.

        Args:
            data_root: folder of a dataset that is named; a YAML file has its own `root`.

        Raises:
            ValueError, OSError: the root is missing, or its files do not fit the dataset.
        """
        if self.spec.source and self.spec.root is None:
            raise DatasetError(f"--extra_data {self.title}: the YAML file has no root: add the "
                               "line root: FOLDER")
        return build(self.spec, self.spec.root or data_root, self.split, transform, extras)

    def draws(self, images: int) -> int:
        """Returns how many of its images an epoch draws. Raises DatasetError if it is none."""
        draws = round(self.weight * images)
        if not draws:
            raise DatasetError(
                f"--extra_data {self.title}: the weight {self.weight:g} of {images} images draws "
                f"none in an epoch: give at least {math.ceil(1000 / images) / 1000:g}, or leave "
                "the data out.")
        return draws


class Source(NamedTuple):
    """Images that a plan mixes in.

    Attributes:
        start, size: the images are start, ..., start + size - 1.
        draws: how many an epoch draws.
        weight: see `ExtraData`.
    """

    title: str
    start: int
    size: int
    draws: int
    weight: float


class MixedPlan(EpochPlan):
    """The epochs of another plan, whose draws are shuffled with draws of further images.

    Args:
        plan: of the images before those of the sources.
        title: of its images.
    """

    def __init__(self, plan: EpochPlan, title: str, sources: Sequence[Source]) -> None:
        super().__init__(plan.dataset_size, plan.seed)
        self.plan = plan
        self.title = title
        self.sources = sources

    def __len__(self) -> int:
        return len(self.plan) + sum(source.draws for source in self.sources)

    def class_draws(self, epoch: int) -> dict[int, int]:
        return self.plan.class_draws(epoch)

    def describe(self, names: Sequence[str]) -> list[str]:
        lines = self.plan.describe(names)
        lines.append(f"an epoch draws {len(self)} samples, {len(self.plan)} of them from "
                     f"{self.title}")
        lines += [f"  and {source.draws} from the {source.size} images of {source.title}"
                  for source in self.sources]
        return lines

    def draws(self, epoch: int) -> list[SampleDraw]:
        chosen: list[Choice] = [(draw.index, draw.focus) for draw in self.plan.draws(epoch)]
        for number, source in enumerate(self.sources):
            images = self._slice_of_passes(source.size, epoch * source.draws, source.draws,
                                           PASSES_STREAM, number)
            chosen += [(image, None) for image in (images + source.start).tolist()]
        return self._shuffled(chosen, epoch, ORDER_STREAM)


def mix(images: SegmentationDataset | JoinedDataset, plan: EpochPlan, chosen: Sequence[ExtraData],
        others: Sequence[SegmentationDataset],
        ) -> tuple[SegmentationDataset | JoinedDataset, EpochPlan]:
    """Returns images and plan, joined by others.

    Args:
        images, plan: as `plan_training` returns them.
        chosen, others: the extra data, and their opened splits.

    Raises:
        DatasetError: a weight is so small that an epoch draws no image.
    """
    if not chosen:
        return images, plan
    joined = JoinedDataset(images, *others)
    sources = [Source(extra.title, start, len(other), extra.draws(len(other)), extra.weight)
               for extra, other, start in zip(chosen, others, joined.starts[1:], strict=True)]
    first = images.parts[0] if isinstance(images, JoinedDataset) else images
    assert isinstance(first, SegmentationDataset)
    return joined, MixedPlan(plan, f"{first.spec.title} {first.split}", sources)


def describe_sources(plan: EpochPlan,
                     images: SegmentationDataset | JoinedDataset) -> list[dict[str, Any]]:
    """Returns what a checkpoint records of each source, by which a run that goes on knows it."""
    if not isinstance(plan, MixedPlan):
        return []
    descriptions = []
    for source in plan.sources:
        samples = images.samples[source.start:source.start + source.size]
        names = "\n".join(sample.name for sample in samples)
        # a name may have bytes that are not UTF-8
        digest = hashlib.sha256(os.fsencode(names)).hexdigest()
        descriptions.append({"title": source.title, "weight": source.weight, "images": source.size,
                             "sha256_of_names": digest})
    return descriptions


def check_same_sources(state: Mapping[str, Any] | None, sources: Sequence[Mapping[str, Any]],
                       folder: Path) -> None:
    """Checks that a run is resumed with the extra images that it began with, from any folder.

    Args:
        state: its checkpoint, None if it has none yet.
        sources: see `describe_sources`.
        folder: of the run, for the message.

    Raises:
        DatasetError: the weights, the numbers of images or their names in order have changed.
    """
    if state is None:
        return
    # checkpoints of 0.2.0 and before do not say it: there were no extra images
    difference = _difference(state.get("sampler", {}).get("sources", []), sources)
    if difference:
        raise DatasetError(f"--extra_data {difference} when the run in {folder} began: give the "
                           "images that it began with, from any folder, or start a new run under "
                           "another --exp.")


def _difference(recorded: Sequence[Mapping[str, Any]],
                sources: Sequence[Mapping[str, Any]]) -> str | None:
    if len(sources) != len(recorded):
        return f"names {_titles(sources)}, and {_titles(recorded)}"
    for source, earlier in zip(sources, recorded, strict=True):
        title, former = source["title"], earlier["title"]
        if source["weight"] != earlier["weight"]:
            return (f"{title} has the weight {source['weight']:g}, and {former} had "
                    f"{earlier['weight']:g}")
        if source["images"] != earlier["images"]:
            return f"{title} has {source['images']} images, and {former} had {earlier['images']}"
        if source["sha256_of_names"] != earlier["sha256_of_names"]:
            return f"{title} has images of other names, or in another order, than {former}"
    return None


def _titles(sources: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(source["title"] for source in sources) or "no dataset"


def seen_in_validation(plan: EpochPlan, images: SegmentationDataset | JoinedDataset,
                       val_set: SegmentationDataset | None) -> str:
    """Returns a warning if extra images are images of the validation; "" if not."""
    if val_set is None or not isinstance(plan, MixedPlan):
        return ""
    first = plan.sources[0].start
    # the images of pseudo-labels are links
    validated = {sample.image.resolve() for sample in val_set.samples}
    count = sum(sample.image.resolve() in validated for sample in images.samples[first:])
    if not count:
        return ""
    return (f"--extra_data has {count} of the images of {val_set.spec.title} {val_set.split}, on "
            "which the run is validated: its scores will be too high")


def _default_split(dataset_spec: DatasetSpec) -> str:
    splits = [split for split in dataset_spec.splits if split != "trainval"]
    return splits[0] if len(splits) == 1 else "train"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
