"""Flags that would be ignored: one rule over the declared flags, for those on the command line.

A recipe's or a resumed run's own values are no error: only what a user typed is refused.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Flags = Mapping[str, Any]       # effective values by destination


class Use(NamedTuple):
    """When flags have an effect.

    Args:
        flags: destinations.
        is_read: effective flags -> whether these flags are read.
        remedy: what to add, or leave out.
    """

    flags: tuple[str, ...]
    is_read: Callable[[Flags], bool]
    remedy: str


def _jitters(flags: Flags) -> bool:
    """Returns whether a strength of the color jitter is left to --color_aug."""
    return None in (flags[name] for name in ("brightness", "contrast", "saturation", "hue"))


USES = (
    Use(("ohem_thresh", "ohem_min_kept"), lambda flags: flags["ohem"], "add --ohem"),
    Use(("wt_bound",), lambda flags: flags["img_wt_loss"] or flags["jointwtborder"],
        "add --img_wt_loss or --jointwtborder"),
    Use(("aux_weight",), lambda flags: flags["aux"] or flags["fpn_dsn_loss"],
        "add --fpn_dsn_loss or --aux"),
    Use(("reset_classifier", "init_aux"), lambda flags: flags["snapshot"] is not None,
        "add --snapshot FILE, whose weights it concerns"),
    Use(("boundary_width",), lambda flags: flags["boundary_weight"] > 0,
        "add --boundary_weight above 0"),
    Use(("distill", "distill_temperature", "distill_warmup", "distill_on"),
        lambda flags: flags["teacher"] is not None, "add --teacher FILE"),
    Use(("class_uniform_tile", "max_cu_epoch"), lambda flags: flags["class_uniform_pct"] > 0,
        "add --class_uniform_pct above 0"),
    Use(("copy_paste_classes",), lambda flags: flags["copy_paste"] > 0,
        "add --copy_paste above 0"),
    Use(("momentum",), lambda flags: flags["optimizer"] == "sgd", "use --sgd"),
    Use(("poly_exp",), lambda flags: "poly" in flags["lr_schedule"], "use --lr_schedule poly"),
    Use(("repoly", "rescale"), lambda flags: flags["lr_schedule"] == "scl-poly",
        "use --lr_schedule scl-poly"),
    Use(("backbone_lr_factor", "layer_decay"), lambda flags: not flags.get("freeze_backbone"),
        "leave out --freeze_backbone"),
    Use(("color_aug",), _jitters, "leave out one of --brightness, --contrast, --saturation, --hue"),
    Use(("gblur_prob",), lambda flags: flags["gblur"] or flags["bblur"], "use --gblur or --bblur"),
    Use(("eval_thresholds",), lambda flags: flags["evaluateF"], "add --evaluateF"),
    Use(("eval_epoch", "eval_every", "eval_late", "eval_images", "bs_mult_val", "evaluateF"),
        lambda flags: flags.get("val_split") != "none", "leave out --val_split none"),
)


def check_used(flags: Flags, given: Iterable[str]) -> None:
    """Raises ValueError if a flag of the command line has no effect beside the others.

    A switch that is off (`--no_x`) asks for nothing and is never refused.

    Args:
        flags: the effective flags.
        given: destinations on the command line.
    """
    names = {name for name in given if flags[name] is not False}
    for use in USES:
        ignored = [f"--{name}" for name in use.flags if name in names]
        if ignored and not use.is_read(flags):
            raise ValueError(f"{' and '.join(ignored)} would be ignored: {use.remedy}, or leave "
                             f"{'it' if len(ignored) == 1 else 'them'} out")
