"""The criteria: (outputs, labels) -> dict of weighted terms, which the loop sums and logs by name."""
from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from loss.class_weights import read_class_weights
from loss.criterion import Criterion
from loss.cross_entropy import CrossEntropy
from loss.decoupled import JointBodyEdgeLoss
from loss.deep_supervision import DeepSupervision
from loss.dice import DiceLoss
from loss.focal import FocalLoss
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.lovasz import LovaszSoftmax
from loss.ohem import OhemCrossEntropy
from loss.relaxation import RelaxedCrossEntropy
from loss.sum_of_losses import SumOfLosses
from utils.cli import add_switch, number_from_0, positive_int, whole_numbers

__all__ = [
    "Criterion",
    "CrossEntropy",
    "DeepSupervision",
    "DiceLoss",
    "FocalLoss",
    "ImageWeightedCrossEntropy",
    "JointBodyEdgeLoss",
    "LovaszSoftmax",
    "OhemCrossEntropy",
    "RelaxedCrossEntropy",
    "SumOfLosses",
    "add_flags",
    "build",
    "chosen_flags",
]


class Row(NamedTuple):
    """A base criterion: the flag that chooses it, and the flags that it takes with the keyword each one becomes."""

    make: Callable[..., Criterion]
    chosen_by: str | None
    takes: Mapping[str, str]


BASES = (
    Row(CrossEntropy, None, {"class_weights": "class_weights", "label_smoothing": "label_smoothing"}),
    Row(OhemCrossEntropy, "ohem", {"ohem_thresh": "thresh", "ohem_min_kept": "min_kept",
                                   "class_weights": "class_weights"}),
    Row(FocalLoss, "focal", {"focal": "gamma", "class_weights": "class_weights"}),
    Row(ImageWeightedCrossEntropy, "img_wt_loss", {"wt_bound": "bound", "batch_weighting": "per_batch"}),
    Row(RelaxedCrossEntropy, "jointwtborder", {"wt_bound": "bound", "batch_weighting": "per_batch",
                                               "strict_bdr_cls": "strict_classes", "rlx_off_epoch": "off_epoch"}),
)
ADDED: dict[str, Callable[..., Criterion]] = {"lovasz_weight": LovaszSoftmax, "dice_weight": DiceLoss}   # on `main`
OFF_UNLESS_GIVEN = ("class_weights", "label_smoothing", "batch_weighting", "strict_bdr_cls", "rlx_off_epoch")
AUX_WEIGHTS = {"fpn_dsn_loss": 1.0, "aux": 0.4}     # SFNet's, and PSPNet's (arXiv 1612.01105)


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Loss")
    add_switch(group, "--ohem", default=False, help="train on the hard pixels only (online hard example mining)")
    group.add_argument("--ohem_thresh", type=float, default=0.7,
                       help="a pixel is hard when its true class scores at most this, a probability in (0, 1]")
    group.add_argument("--ohem_min_kept", type=float, default=100_000,
                       help="pixels of a process's batch that are kept at least; below 1, a share of them")
    group.add_argument("--focal", type=number_from_0, default=0.0, metavar="GAMMA",
                       help="focal loss: easy pixels count less, by (1 - p)^GAMMA; 0 is off")
    add_switch(group, "--img_wt_loss", default=False,
               help="weigh classes by 1 + WT_BOUND (1 - share of the class in the image)")
    add_switch(group, "--jointwtborder", default=False,
               help="boundary label relaxation: near a boundary any class within a pixel counts as right")
    group.add_argument("--wt_bound", type=number_from_0, default=1.0,
                       help="of --img_wt_loss and --jointwtborder: the most that a class weighs on top of 1; 0 is even")
    add_switch(group, "--batch_weighting", default=False,
               help="with --img_wt_loss or --jointwtborder: weigh by the shares in the process's batch instead")
    group.add_argument("--strict_bdr_cls", type=whole_numbers, default=(), metavar="IDS",
                       help="with --jointwtborder: train ids whose pixels are not relaxed, as 5,6,7")
    group.add_argument("--rlx_off_epoch", type=positive_int,
                       help="with --jointwtborder: epochs that relax, before plain labels (default: all); also where "
                            "--lr_schedule scl-poly starts anew")
    group.add_argument("--class_weights", metavar="FILE",
                       help='weigh classes by a JSON file {"class name": weight} (cross entropy, OHEM, focal)')
    group.add_argument("--label_smoothing", type=float, default=0.0,
                       help="share of the truth spread over all classes, in [0, 1) (cross entropy only)")
    group.add_argument("--lovasz_weight", type=number_from_0, default=0.0,
                       help="factor of an added Lovasz-softmax; 0 is off")
    group.add_argument("--dice_weight", type=number_from_0, default=0.0, help="factor of an added Dice loss; 0 is off")
    add_switch(group, "--aux", default=False, help="auxiliary classifiers as PSPNet trains them, at a weight of 0.4; "
                                                   "the same ones as --fpn_dsn_loss, which weighs them 1")
    group.add_argument("--aux_weight", type=number_from_0,
                       help="factor of each auxiliary loss; by default that of --fpn_dsn_loss or --aux")
    add_switch(group, "--joint_edgeseg_loss", default=None,
               help="the joint loss of body, edge and final map; by default where the network gives them (decouple_*)")


def chosen_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks `build`'s keywords out of a run's flags.

    Raises:
        ValueError: two flags choose different criteria, or one has no meaning with the criterion that is chosen.
    """
    chosen = [row for row in BASES if row.chosen_by and settings[row.chosen_by]]
    if len(chosen) > 1:
        raise ValueError(f"--{chosen[0].chosen_by} and --{chosen[1].chosen_by} choose two different losses: "
                         f"leave one out, or switch it off with --no_{chosen[0].chosen_by}")
    row = chosen[0] if chosen else BASES[0]
    for flag in OFF_UNLESS_GIVEN:
        is_schedules = flag == "rlx_off_epoch" and settings["lr_schedule"] == "scl-poly"
        if settings[flag] not in (None, 0.0, (), []) and flag not in row.takes and not is_schedules:
            able = " or ".join(f"--{each.chosen_by}" if each.chosen_by else "the plain cross entropy"
                               for each in BASES if flag in each.takes)
            raise ValueError(f"--{flag} has no meaning with the {row.make.__name__} that is chosen: it is for {able}")
    if settings["aux"] and settings["fpn_dsn_loss"]:
        raise ValueError("--aux and --fpn_dsn_loss add the same auxiliary classifiers with different weights: give "
                         "one of them, and perhaps --aux_weight")
    aux = next((flag for flag in AUX_WEIGHTS if settings[flag]), None)
    if aux and settings["joint_edgeseg_loss"]:
        raise ValueError(f"--{aux} adds auxiliary classifiers, which no network with body and edge has: leave it out")
    weight = settings["aux_weight"] if settings["aux_weight"] is not None else AUX_WEIGHTS.get(aux or "")
    return {
        "base": row, "options": {keyword: settings[flag] for flag, keyword in row.takes.items()},
        "aux_weight": weight if aux else None, "joint": bool(settings["joint_edgeseg_loss"]),
        "added": {flag: settings[flag] for flag in ADDED if settings[flag]},
    }


def build(*, base: Row = BASES[0], options: Mapping[str, Any] | None = None, aux_weight: float | None = None,
          joint: bool = False, added: Mapping[str, float] | None = None, class_names: Sequence[str],
          ignore_label: int = 255) -> Criterion:
    """Returns the criterion.

    Args:
        base: the row of the criterion for each map.
        options: its keywords; `class_weights` is a file.
        aux_weight: factor of each auxiliary loss; None where the network has no auxiliaries.
        joint: train body and edge too.
        added: flag of an added criterion -> its factor.

    Raises:
        FileNotFoundError, ValueError: the class weights cannot be read, or a setting is out of range.
    """
    keywords = dict(options or {})
    if keywords.get("class_weights") is not None:
        keywords["class_weights"] = read_class_weights(keywords["class_weights"], class_names)
    outside = [index for index in keywords.get("strict_classes", ()) if not 0 <= index < len(class_names)]
    if outside:
        raise ValueError(f"--strict_bdr_cls names {outside[0]}, but the train ids are 0 to {len(class_names) - 1}")
    criterion = base.make(ignore_label=ignore_label, **keywords)
    if aux_weight is not None:
        criterion = DeepSupervision(criterion, aux_weight)
    if joint:
        criterion = JointBodyEdgeLoss(criterion, ignore_label)
    if added:
        criterion = SumOfLosses([criterion, *(ADDED[flag](weight, ignore_label) for flag, weight in added.items())])
    return criterion
