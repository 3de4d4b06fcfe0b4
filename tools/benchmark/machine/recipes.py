"""How long the launchers of Cityscapes take on this machine, and on eight such GPUs."""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import train
from tools.benchmark import launchers, models
from tools.benchmark.machine.plan import Plan
from tools.benchmark.machine.worker import Deadline, Row

PREFIX = "cityscapes_"
# images of an epoch, by --train_split
TRAIN_IMAGES = {"train": 2975, "trainval": 3475}
# (height, width) of the image for which operations are counted
SIZE = (1024, 1024)


@dataclass(frozen=True)
class Hours:
    """How long a run takes, its validation and the waiting for data not counted.

    Attributes:
        arithmetic: in which its network was timed.
        is_estimated: another network was timed, and the operations of both compared.
        one_gpu, eight_gpus: hours; eight GPUs are eight times as fast as one with the same images
            a step, which leaves out the exchange of gradients.
    """

    run: str
    arithmetic: str
    is_estimated: bool
    one_gpu: float
    eight_gpus: float


def recipes(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """The launchers of Cityscapes: images of the whole training, and operations of the network."""
    operations: dict[str, int] = {}
    for run in (name for name in launchers.names() if name.startswith(PREFIX)):
        if not deadline.allows("recipe"):
            return
        with deadline.timed("recipe"):
            options = launchers.options_of(run)
            arch = options.network.arch
            if arch not in operations:
                operations[arch] = 2 * models.cost(arch, SIZE).macs
        yield {"run": run, "arch": arch, "operations": operations[arch],
               "images": training_images(options), "crop": list(options.transforms.crop_size)}


def training_images(options: train.Options) -> int:
    """Returns the images of all steps of a run on Cityscapes."""
    intervals = options.intervals
    if intervals.max_iters:
        return intervals.max_iters * options.batching.sizes.global_batch
    return intervals.max_epoch * TRAIN_IMAGES[options.data.train_split]


def hours(recipe_rows: Iterable[Row], training_rows: Sequence[Row]) -> list[Hours]:
    """Returns the hours of each recipe.

    Args:
        recipe_rows: of `recipes`.
        training_rows: of the part "training", whose first row tells the arithmetic.
    """
    recipe_rows = list(recipe_rows)
    operations = {row["arch"]: row["operations"] for row in recipe_rows}
    timed = [row for row in training_rows if "error" not in row and row["arch"] in operations]
    if not timed:
        return []
    arithmetic = timed[0]["arithmetic"]
    most, few = speeds(timed, arithmetic)
    results = []
    for row in recipe_rows:
        arch = row["arch"]
        other = arch if arch in most else nearest(arch, most, operations)
        factor = operations[other] / operations[arch] / math.prod(row["crop"])
        results.append(Hours(
            row["run"], arithmetic, other != arch,
            one_gpu=row["images"] / (most[other] * factor) / 3600,
            eight_gpus=row["images"] / (8 * few.get(other, most[other]) * factor) / 3600))
    return results


def speeds(timed: Sequence[Row], arithmetic: str) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the pixels per second of each network, with many and with few images a step."""
    most: dict[str, float] = {}
    few: dict[str, float] = {}
    for row in sorted(timed, key=lambda row: row["images"]):
        if row["arithmetic"] == arithmetic:
            pixels = row["images_per_second"] * math.prod(row["crop"])
            few.setdefault(row["arch"], pixels)
            most[row["arch"]] = pixels
    return most, few


def nearest(arch: str, timed: Iterable[str], operations: Mapping[str, int]) -> str:
    """Returns the timed network whose operations are nearest to those of a network."""
    return min(timed, key=lambda other: abs(math.log(operations[other] / operations[arch])))
