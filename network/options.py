"""The papers' options: flags that become keywords of `network.build`, and are found again in a run's checkpoint."""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from network.backbones.resnet import STAGE_STRIDES
from network.context import CONTEXTS

OPTIONS = ("fam_levels", "final_fams", "context", "output_stride")


def add_option_flags(group: argparse._ArgumentGroup) -> None:
    """Declares a flag for each of `OPTIONS`; one that is not given is at the architecture's own default."""
    group.add_argument("--fam_levels", type=_levels, metavar="LEVELS",
                       help="levels reached by flow alignment, as 0,1 with 0 the finest, or none; all by default")
    group.add_argument("--final_fams", action="store_true", help="flow alignment in the last fusion too")
    group.add_argument("--no_final_fams", action="store_false", dest="final_fams", help=argparse.SUPPRESS)
    group.add_argument("--context", choices=list(CONTEXTS),
                       help="pyramid pooling (ppm, the default), or the lighter one that adds its levels (sum)")
    group.add_argument("--output_stride", type=int, choices=sorted(STAGE_STRIDES),
                       help="stride of a ResNet's coarsest map; 32 by default in SFNet, 8 in PSPNet and DeepLabV3+")


def chosen_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks `build`'s options out of a run's flags or a checkpoint's; those left at their defaults are not there."""
    return {option: settings[option] for option in OPTIONS if settings.get(option) not in (None, False)}


def _levels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(level) for level in text.split(",")) if text != "none" else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} names no levels: give them as 0,1 or none") from None
