"""How much is measured: in full, quickly, and in the reduced form of a CPU."""
from __future__ import annotations

from dataclasses import dataclass, replace

import torch

# runs whose networks are measured, as their launchers in scripts/train name them
RUNS = ("cityscapes_sfnet_res18", "cityscapes_sfnet_lite_res18", "cityscapes_sfnet_dfv1",
        "cityscapes_sfnet_stdc1", "cityscapes_sfnet_lite_efflite0")
# arithmetic of a training -> flags of train.py
TRAINING_FLAGS = {
    "bf16": ("--precision", "bf16"),
    "fp16": ("--precision", "fp16"),
    "tf32": ("--precision", "fp32"),
    "fp32": ("--precision", "fp32", "--no_tf32"),
    "bf16+compile": ("--precision", "bf16", "--compile"),
    "fp16+compile": ("--precision", "fp16", "--compile"),
    "tf32+compile": ("--precision", "fp32", "--compile"),
    "fp32+compile": ("--precision", "fp32", "--no_tf32", "--compile"),
}
# arithmetic that a GPU of an earlier generation (compute capability below 8) does not have
AMPERE = ("bf16", "tf32")


@dataclass(frozen=True)
class Plan:
    """What is measured, the most valuable first.

    Args:
        limits: part -> seconds after which it is stopped; the start of a process is not counted.
        arithmetic: of the matrix products and of the comparison with float32.
        matrix_side: of the square matrices that are multiplied.
        copied: bytes of a copy.
        runs: whose networks are measured, each first in the first setting. The first use of a
            network takes a GPU 5 to 10 s, in which it searches for kernels.
        more_runs: of these, those that are measured in every other setting too.
        compared_runs: of these, those that are compared with float32.
        staged_runs: of these, those whose predictions are timed stage by stage.
        staged_image: (height, width) of the image of these predictions.
        compared_crop: (height, width) of that comparison.
        crop: (height, width) of a training image in pixels.
        images: of a training step; fewer if they do not fit.
        few_images: of a step on one of eight GPUs; a setting of its own.
        training: keys of `TRAINING_FLAGS`.
        steps: timed steps of each setting; a third of them come before.
        image: (height, width) of an image that is predicted.
        batches: images that are predicted at once.
        settings: groups of settings of `tools.benchmark infer`; a group is measured together.
        rounds: timed predictions of each setting.
        street: (height, width) of the drawn images that are loaded; None for those of Cityscapes.
        loaded_batches: timed batches of the loader.
        loaded_images: of such a batch.
    """

    limits: dict[str, float]
    arithmetic: tuple[str, ...]
    matrix_side: int
    copied: int
    runs: tuple[str, ...]
    more_runs: tuple[str, ...]
    compared_runs: tuple[str, ...]
    staged_runs: tuple[str, ...]
    staged_image: tuple[int, int]
    compared_crop: tuple[int, int]
    crop: tuple[int, int]
    images: int
    few_images: int
    training: tuple[str, ...]
    steps: int
    image: tuple[int, int]
    batches: tuple[int, ...]
    settings: tuple[tuple[str, ...], ...]
    rounds: int
    street: tuple[int, int] | None
    loaded_batches: int
    loaded_images: int


FULL = Plan(
    limits={"machine": 5, "rates": 15, "agreement": 40, "training": 175, "inference": 135,
            "stages": 15, "loading": 45, "memory": 25, "recipes": 20},
    arithmetic=("bf16", "fp16", "tf32", "fp32"), matrix_side=8192, copied=1 << 30,
    runs=RUNS, more_runs=RUNS[:1], compared_runs=RUNS[:2], staged_runs=(RUNS[0], RUNS[2]),
    staged_image=(1024, 2048), compared_crop=(512, 512),
    crop=(1024, 1024), images=8, few_images=2, training=tuple(TRAINING_FLAGS), steps=12,
    image=(1024, 2048), batches=(1, 8),
    settings=(("tf32", "bf16", "fp16", "bf16+graphs", "fp16+graphs"), ("bf16+compile+graphs",),
              ("fp16+compile+graphs",)),
    rounds=30, street=None, loaded_batches=12, loaded_images=8)

QUICK = replace(
    FULL, limits={"machine": 5, "rates": 10, "agreement": 20, "training": 80, "inference": 65,
                  "stages": 12, "loading": 22, "memory": 8, "recipes": 12},
    runs=RUNS[:3], compared_runs=RUNS[:1], training=("bf16", "fp16", "tf32", "fp32"), steps=6,
    settings=(("bf16", "bf16+graphs", "fp16+graphs"), ("bf16+compile+graphs",)), rounds=10,
    loaded_batches=4)

# about two minutes on two cores
CPU = Plan(
    limits={"machine": 60, "rates": 20, "agreement": 30, "training": 60, "inference": 60,
            "stages": 120, "loading": 60, "memory": 60, "recipes": 60},
    arithmetic=("fp32", "bf16"), matrix_side=1024, copied=1 << 28,
    runs=("cityscapes_sfnet_dfv1", "cityscapes_sfnet_res18"),
    more_runs=("cityscapes_sfnet_dfv1", "cityscapes_sfnet_res18"),
    compared_runs=("cityscapes_sfnet_dfv1",),
    staged_runs=("cityscapes_sfnet_res18", "cityscapes_sfnet_dfv1"), staged_image=(1024, 2048),
    compared_crop=(96, 96), crop=(128, 128), images=2, few_images=2, training=("fp32", "bf16"),
    steps=3, image=(128, 256), batches=(1,),
    settings=(("fp32", "bf16"),), rounds=5, street=(128, 256), loaded_batches=3, loaded_images=4)


def plan_for(device: torch.device, quick: bool) -> Plan:
    """Returns the plan of a device, without what it cannot compute."""
    if device.type != "cuda":
        return CPU
    plan = QUICK if quick else FULL
    if torch.cuda.get_device_capability(device) >= (8, 0):
        return plan
    return replace(plan, arithmetic=_without_ampere(plan.arithmetic),
                   training=_without_ampere(plan.training),
                   settings=tuple(filter(None, map(_without_ampere, plan.settings))))


def _without_ampere(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.split("+")[0] not in AMPERE)
