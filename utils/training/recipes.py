"""The families of defaults behind `--recipe`: what the papers, the authors' release and this project train with."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Flags = dict[str, Any]
Value = Any | Callable[[Flags], Any]                        # of a flag, or a function of the flags so far


def _small_backbone(flags: Flags) -> bool:
    return "dfnet" in flags["arch"]


def _published_min_kept(flags: Flags) -> int:
    # the scripts of SFNet-Lite switch deep supervision on, and 100,000 with it, but their network computes no auxiliary
    return 100_000 if flags["fpn_dsn_loss"] or flags["arch"].startswith("sfnet_lite_") else 10_000


# Rows take effect from top to bottom; what a recipe does not name keeps its default.
RECIPES: Mapping[str, Mapping[str, Value]] = {
    # the paper's own first implementation (arXiv 2002.10120)
    "paper": {
        "lr": 0.01, "lr_schedule": "poly", "lr_step": "iteration", "poly_exp": 0.9, "weight_decay": 5e-4,
        "decay_norms": True, "max_iters": 50_000, "global_batch": 16, "class_uniform_pct": 0.0,
        "scale_min": 0.7, "scale_max": 2.1, "color_aug": 0.0, "gblur": False,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": 100_000,
        "fpn_dsn_loss": True, "aux_weight": 1.0,
    },
    # the authors' released scripts
    "sfsegnets": {
        "lr": 0.01, "lr_schedule": "poly", "lr_step": "epoch", "poly_exp": 1.0, "weight_decay": 1e-4,
        "decay_norms": True, "max_epoch": 300, "global_batch": 16, "class_uniform_pct": 0.5, "class_uniform_tile": 1024,
        "scale_min": 0.5, "scale_max": 2.0, "color_aug": 0.25, "gblur": True, "gblur_prob": 1.0,
        "fpn_dsn_loss": _small_backbone, "aux_weight": 1.0,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": _published_min_kept,
    },
    "ours": {
        "lr": 0.01, "scale_lr": True, "lr_schedule": "poly", "lr_step": "iteration", "poly_exp": 0.9,
        "warmup_steps": 500, "weight_decay": 5e-4, "decay_norms": False, "max_epoch": 300, "global_batch": 16,
        "class_uniform_pct": 0.5, "class_uniform_tile": 1024,
        "scale_min": 0.5, "scale_max": 2.0, "color_aug": 0.25, "gblur": True, "gblur_prob": 0.5,
        "ohem": True, "ohem_thresh": 0.7, "ohem_min_kept": 1 / 16,
        "fpn_dsn_loss": True, "aux_weight": 0.4, "ema_decay": 0.999,
    },
}
