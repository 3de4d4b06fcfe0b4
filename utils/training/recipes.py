"""The recipes of `--recipe`: sets of defaults for a kind of training."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Flags = dict[str, Any]
# The value of a flag, or a function that computes it from the flags set so far.
Value = Any | Callable[[Flags], Any]


def _small_backbone(flags: Flags) -> bool:
    return "dfnet" in flags["arch"]


def _has_auxiliary_heads(flags: Flags) -> bool:
    # DecoupleSegNets trains its body and edge outputs instead.
    return not flags["arch"].startswith("decouple_")


def _published_min_kept(flags: Flags) -> int:
    # The authors' scripts keep 100,000 pixels together with deep supervision. Those of SFNet-Lite
    # switch both on, although their network computes no auxiliary outputs.
    if flags["fpn_dsn_loss"] or flags["arch"].startswith("sfnet_lite_"):
        return 100_000
    return 10_000


# what each recipe is for, in the help of `--recipe`
PURPOSES: Mapping[str, str] = {
    "paper": "the first implementation of the paper",
    "sfsegnets": "the authors' released scripts",
    "ours": "this project's choice for new trainings",
    "camvid": "CamVid from random weights",
    "imagenet": "a small dataset from ImageNet weights",
    "modern": "imagenet with --dice_weight and --boundary_weight in place of --ohem",
    "streets": "drawn street scenes, in minutes",
}

# Values take effect from top to bottom. A flag that a recipe does not name keeps its default.
RECIPES: Mapping[str, Mapping[str, Value]] = {
    # The first implementation of the paper (arXiv 2002.10120).
    "paper": {
        "lr": 0.01, "lr_schedule": "poly", "lr_step": "iteration", "poly_exp": 0.9,
        "weight_decay": 5e-4, "decay_norms": True, "max_iters": 50_000, "global_batch": 16,
        "class_uniform_pct": 0.0,
        "scale_min": 0.7, "scale_max": 2.1, "color_aug": 0.0, "gblur": False,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": 100_000,
        "fpn_dsn_loss": _has_auxiliary_heads, "aux_weight": 1.0,
    },
    # The scripts that the authors released.
    "sfsegnets": {
        "lr": 0.01, "lr_schedule": "poly", "lr_step": "epoch", "poly_exp": 1.0,
        "weight_decay": 1e-4, "decay_norms": True, "max_epoch": 300, "global_batch": 16,
        "class_uniform_pct": 0.5, "class_uniform_tile": 1024,
        "scale_min": 0.5, "scale_max": 2.0, "color_aug": 0.25, "gblur": True, "gblur_prob": 1.0,
        "fpn_dsn_loss": _small_backbone, "aux_weight": 1.0,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": _published_min_kept,
    },
    # For new trainings. Its result on Cityscapes has not been measured.
    "ours": {
        "lr": 0.01, "scale_lr": True, "lr_schedule": "poly", "lr_step": "iteration",
        "poly_exp": 0.9, "warmup_steps": 500, "weight_decay": 5e-4, "decay_norms": False,
        "max_epoch": 300, "global_batch": 16,
        "class_uniform_pct": 0.5, "class_uniform_tile": 1024,
        "scale_min": 0.5, "scale_max": 2.0, "color_aug": 0.25, "gblur": True, "gblur_prob": 0.5,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": 1 / 16,
        "fpn_dsn_loss": _has_auxiliary_heads, "aux_weight": 0.4, "ema_decay": 0.999,
    },
    # CamVid at 360x480 from random weights on two CPU cores. No checkpoint is chosen on test.
    "camvid": {
        "pretrained": "none", "train_split": "trainval", "val_split": "none",
        "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01, "warmup_steps": 100,
        "max_epoch": 40, "global_batch": 4,
        "ohem": True, "ohem_min_kept": 50_000,
        "fpn_dsn_loss": _has_auxiliary_heads, "ema_decay": 0.998,
    },
    # A backbone with ImageNet weights on a small dataset, on two CPU cores.
    "imagenet": {
        "pretrained": "auto",
        "optimizer": "adamw", "lr": 0.001, "head_lr_factor": 2.0, "weight_decay": 0.01,
        "warmup_steps": 100, "max_epoch": 40, "global_batch": 4,
        "scale_min": 0.6, "scale_max": 1.5,
        "ohem": True, "ohem_min_kept": 0.1,
        "fpn_dsn_loss": _has_auxiliary_heads, "aux_weight": 0.4, "ema_decay": 0.998,
    },
    # As "imagenet", with cross entropy and Dice over all pixels in place of the hard ones, and with
    # boundaries at a quarter of PIDNet's weight: in small images, edges are a larger share of the
    # pixels. Measured in results/runs/idd_lite_beyond.
    "modern": {
        "pretrained": "auto",
        "optimizer": "adamw", "lr": 0.001, "head_lr_factor": 2.0, "weight_decay": 0.01,
        "warmup_steps": 100, "max_epoch": 40, "global_batch": 4,
        "scale_min": 0.6, "scale_max": 1.5,
        "dice_weight": 1.0, "boundary_weight": 5.0,
        "fpn_dsn_loss": _has_auxiliary_heads, "aux_weight": 0.4, "ema_decay": 0.998,
    },
    # Procedural street scenes from random weights in five minutes on two CPU cores.
    "streets": {
        "pretrained": "none",
        "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01, "warmup_steps": 50,
        "max_epoch": 4, "global_batch": 8, "eval_epoch": 1, "eval_every": 1,
        "scale_min": 0.75, "scale_max": 1.5, "gblur": False,
        "ema_decay": 0.99,
    },
}
