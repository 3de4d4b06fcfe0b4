"""The flags of the losses, and the table from flag to criterion."""
from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from loss.criterion import Criterion
from loss.cross_entropy import CrossEntropy
from loss.dice import DiceLoss
from loss.distillation import METHODS
from loss.focal import FocalLoss
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.lovasz import LovaszSoftmax
from loss.ohem import OhemCrossEntropy
from loss.relaxation import RelaxedCrossEntropy
from utils import IGNORE_LABEL
from utils.cli import (
    add_switch,
    int_from_0,
    number_from_0,
    positive_int,
    positive_number,
    suggest,
    whole_numbers,
)


class CriterionRow(NamedTuple):
    """A row of `CRITERIA`: a criterion for `main`.

    Args:
        build: called with `ignore_label` and the keywords below.
        flag: the flag that chooses this criterion; None for the default.
        keywords: flag -> keyword of `build`, for each flag that the criterion reads.
    """

    build: Callable[..., Criterion]
    flag: str | None
    keywords: Mapping[str, str]


CRITERIA = (
    CriterionRow(CrossEntropy, None, {
        "class_weights": "class_weights", "label_smoothing": "label_smoothing"}),
    CriterionRow(OhemCrossEntropy, "ohem", {
        "ohem_thresh": "thresh", "ohem_min_kept": "min_kept", "class_weights": "class_weights"}),
    CriterionRow(FocalLoss, "focal", {
        "focal": "gamma", "class_weights": "class_weights"}),
    CriterionRow(ImageWeightedCrossEntropy, "img_wt_loss", {
        "wt_bound": "bound", "batch_weighting": "per_batch"}),
    CriterionRow(RelaxedCrossEntropy, "jointwtborder", {
        "wt_bound": "bound", "batch_weighting": "per_batch", "strict_bdr_cls": "strict_classes",
        "rlx_off_epoch": "off_epoch"}),
)

# flag -> class of a loss that is added to the criterion, on `main` alone; called with the flag's
# value, which is its weight, and the ignored label
ADDED_LOSSES: dict[str, Callable[..., Criterion]] = {
    "lovasz_weight": LovaszSoftmax,
    "dice_weight": DiceLoss,
}

# flag of deep supervision -> weight of each auxiliary loss, as in SFNet and PSPNet
AUX_WEIGHTS = {"fpn_dsn_loss": 1.0, "aux": 0.4}

# flags that are refused if the chosen criterion does not read them
REFUSED_IF_UNUSED = ("class_weights", "label_smoothing", "batch_weighting", "strict_bdr_cls")


@dataclass(frozen=True)
class LossOptions:
    """The flags of group "Loss", under their own names, and two of group "Model".

    Those two are `fpn_dsn_loss` and `teacher`.

    Args:
        ohem, focal, img_wt_loss, jointwtborder: choose the criterion, see `CRITERIA`; cross entropy
            if none of them is set.
        class_weights: path of a JSON file, see `read_class_weights`.
        aux_weight: None for the weight of `fpn_dsn_loss` or `aux`, see `AUX_WEIGHTS`.
        rlx_off_epoch: number of epochs that relax labels; None for all.
        joint_edgeseg_loss: also train the body and edge outputs.
        teacher: the checkpoint of a teacher; without it, the flags of distillation are not read.
        boundary_width: in pixels of the labels.
        distill: the methods of distillation and their weights, as `distill_methods` returns them.
        distill_temperature: None for the temperature of each method.

    Raises:
        ValueError: a value is out of range, two flags exclude each other, or a flag has no effect
            with the chosen criterion.
    """

    ohem: bool = False
    ohem_thresh: float = 0.7
    ohem_min_kept: float = 100_000
    focal: float = 0.0
    img_wt_loss: bool = False
    jointwtborder: bool = False
    wt_bound: float = 1.0
    batch_weighting: bool = False
    strict_bdr_cls: tuple[int, ...] = ()
    rlx_off_epoch: int | None = None
    class_weights: str | None = None
    label_smoothing: float = 0.0
    lovasz_weight: float = 0.0
    dice_weight: float = 0.0
    aux: bool = False
    fpn_dsn_loss: bool = False
    aux_weight: float | None = None
    joint_edgeseg_loss: bool = False
    boundary_weight: float = 0.0
    boundary_width: int = 4
    teacher: str | None = None
    distill: str = "kl:1"
    distill_temperature: float | None = None
    distill_warmup: int = 0
    distill_on: str = "all"

    @classmethod
    def from_args(cls, args: Namespace) -> LossOptions:
        """Reads the flags. `args.joint_edgeseg_loss` counts as off while it is None.

        train.py replaces None by what the architecture needs.
        """
        values = {field.name: getattr(args, field.name) for field in fields(cls)}
        # a JSON file of flags has lists for tuples
        values["strict_bdr_cls"] = tuple(args.strict_bdr_cls)
        values["joint_edgeseg_loss"] = bool(args.joint_edgeseg_loss)
        return cls(**values)

    def __post_init__(self) -> None:
        chosen = [row.flag for row in CRITERIA if row.flag and getattr(self, row.flag)]
        if len(chosen) > 1:
            raise ValueError(f"--{chosen[0]} and --{chosen[1]} choose two different losses: leave "
                             f"one out, or switch it off with --no_{chosen[0]}")
        for flag in REFUSED_IF_UNUSED:
            if getattr(self, flag):
                self.check_used(flag)
        if self.aux and self.fpn_dsn_loss:
            raise ValueError("--aux and --fpn_dsn_loss add the same auxiliary classifiers with "
                             "different weights: give one of them, and --aux_weight if needed")
        if self.joint_edgeseg_loss and (self.aux or self.fpn_dsn_loss):
            flag = "aux" if self.aux else "fpn_dsn_loss"
            raise ValueError(f"--{flag} adds auxiliary classifiers, which no network with body "
                             "and edge has: leave it out")
        if self.boundary_width < 2 or self.boundary_width % 2:
            raise ValueError(f"--boundary_width {self.boundary_width}: half of an edge lies in "
                             "each class, so give an even number of at least 2")
        temperatures = [METHODS[name].temperature for name in self.distillation]
        if self.distill_temperature and temperatures and not any(temperatures):
            raise ValueError("--distill_temperature would be ignored: --distill feature has no "
                             "temperature")
        # the criterion checks the ranges of its own keywords
        self.build_criterion(class_weights=None)

    @property
    def row(self) -> CriterionRow:
        """The chosen row of `CRITERIA`, whose first row is the default."""
        for row in CRITERIA:
            if row.flag and getattr(self, row.flag):
                return row
        return CRITERIA[0]

    @property
    def auxiliary_weight(self) -> float | None:
        """The factor of each auxiliary loss; None without deep supervision."""
        for flag, default in AUX_WEIGHTS.items():
            if getattr(self, flag):
                return default if self.aux_weight is None else self.aux_weight
        return None

    @property
    def distillation(self) -> dict[str, float]:
        """Method of `loss.distillation.METHODS` -> weight; empty without a teacher."""
        pairs = (pair.split(":") for pair in self.distill.split(","))
        return {name: float(weight) for name, weight in pairs} if self.teacher else {}

    @property
    def trains_features(self) -> bool:
        """Whether a loss compares feature maps of the backbones."""
        return any(METHODS[name].output == "feature" for name in self.distillation)

    def check_used(self, flag: str) -> None:
        """Raises ValueError if the chosen criterion does not read the flag."""
        if flag in self.row.keywords:
            return
        readers = [f"--{row.flag}" if row.flag else "the plain cross entropy"
                   for row in CRITERIA if flag in row.keywords]
        raise ValueError(f"--{flag} has no effect with the chosen {self.row.build.__name__}: "
                         f"it is for {' or '.join(readers)}")

    def build_criterion(self, class_weights: list[float] | None,
                        ignore_label: int = IGNORE_LABEL) -> Criterion:
        """Returns the criterion of `CRITERIA` alone.

        Args:
            class_weights: (K,), the content of the file `class_weights`.
        """
        keywords: dict[str, Any] = {
            keyword: getattr(self, flag) for flag, keyword in self.row.keywords.items()}
        if "class_weights" in keywords:
            keywords["class_weights"] = class_weights
        return self.row.build(ignore_label=ignore_label, **keywords)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Loss", which `LossOptions.from_args` reads."""
    default = LossOptions()
    group = parser.add_argument_group("Loss")
    add_switch(group, "--ohem", default=default.ohem,
               help="online hard example mining: average the loss over the hard pixels only")
    group.add_argument("--ohem_thresh", type=float, default=default.ohem_thresh,
                       help="a pixel is hard if its true class has at most this probability, "
                            "in (0, 1]")
    group.add_argument("--ohem_min_kept", type=float, default=default.ohem_min_kept,
                       help="smallest number of pixels kept of each forward pass; below 1, "
                            "a fraction of them")
    group.add_argument("--focal", type=number_from_0, default=default.focal, metavar="GAMMA",
                       help="focal loss: reduce the weight of easy pixels by (1 - p)^GAMMA; "
                            "0 is off")
    add_switch(group, "--img_wt_loss", default=default.img_wt_loss,
               help="weight classes by 1 + WT_BOUND (1 - frequency of the class in the image)")
    add_switch(group, "--jointwtborder", default=default.jointwtborder,
               help="boundary label relaxation: near a boundary, any class within one pixel is "
                    "accepted")
    group.add_argument("--wt_bound", type=number_from_0, default=default.wt_bound,
                       help="with --img_wt_loss or --jointwtborder: the largest addition to a "
                            "class's weight of 1; 0 weights all classes alike")
    add_switch(group, "--batch_weighting", default=default.batch_weighting,
               help="with --img_wt_loss or --jointwtborder: use the frequencies in the process's "
                    "batch instead of the image")
    group.add_argument("--strict_bdr_cls", type=whole_numbers, default=default.strict_bdr_cls,
                       metavar="IDS", help="with --jointwtborder: train ids whose pixels are not "
                                           "relaxed, such as 5,6,7")
    group.add_argument("--rlx_off_epoch", type=positive_int,
                       help="with --jointwtborder: number of epochs with relaxed labels before "
                            "plain labels (default: all); also the epoch in which --lr_schedule "
                            "scl-poly restarts")
    group.add_argument("--class_weights", metavar="FILE",
                       help='weight classes by a JSON file {"class name": weight} (cross entropy, '
                            'OHEM, focal)')
    group.add_argument("--label_smoothing", type=float, default=default.label_smoothing,
                       help="fraction of the label spread over all classes, in [0, 1) "
                            "(cross entropy only)")
    group.add_argument("--lovasz_weight", type=number_from_0, default=default.lovasz_weight,
                       help="weight of an added Lovasz-softmax loss; 0 is off")
    group.add_argument("--dice_weight", type=number_from_0, default=default.dice_weight,
                       help="weight of an added Dice loss; 0 is off")
    add_switch(group, "--aux", default=default.aux,
               help="auxiliary classifiers with PSPNet's weight of 0.4; --fpn_dsn_loss adds the "
                    "same ones with a weight of 1")
    group.add_argument("--aux_weight", type=number_from_0,
                       help="weight of each auxiliary loss; by default that of --fpn_dsn_loss or "
                            "--aux")
    add_switch(group, "--joint_edgeseg_loss", default=None,
               help="joint loss of body, edge and final map; by default on for the networks that "
                    "have these outputs (decouple_*)")
    group.add_argument("--boundary_weight", type=number_from_0, default=default.boundary_weight,
                       help="weight of an added boundary loss, whose output only the training has "
                            "(PIDNet: 20); 0 is off")
    group.add_argument("--boundary_width", type=positive_int, default=default.boundary_width,
                       metavar="PX",
                       help="with --boundary_weight: width of an edge in pixels of the labels, an "
                            "even number")
    group.add_argument("--distill", type=distill_methods, default=default.distill,
                       metavar="METHODS",
                       help=f"with --teacher: what the student imitates, some of "
                            f"{', '.join(METHODS)} with their weights, such as kl:1,cwd:3")
    group.add_argument("--distill_temperature", type=positive_number,
                       help="with --teacher: divisor of logits and features before the softmax "
                            "(default: 1 for kl, 4 for cwd and cwd_feature)")
    group.add_argument("--distill_warmup", type=int_from_0, default=default.distill_warmup,
                       metavar="STEPS",
                       help="with --teacher: steps in which the weights of --distill rise from 0")
    group.add_argument("--distill_on", choices=("all", "labeled"), default=default.distill_on,
                       help="with --teacher: the pixels whose difference counts, all or only those "
                            "with a label")


def distill_methods(text: str) -> str:
    """Reads `NAME[:WEIGHT],...`, such as kl,cwd:3; returns it with the weight of every method."""
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, _, weight = pair.partition(":")
        if name not in METHODS:
            suggestion = suggest(name, METHODS) or "."
            raise ArgumentTypeError(f"{name!r} is no method of distillation{suggestion} The "
                                    f"methods are: {', '.join(METHODS)}.")
        if name in weights:
            raise ArgumentTypeError(f"{text!r} names {name} twice")
        weights[name] = positive_number(weight) if weight else METHODS[name].weight
    return ",".join(f"{name}:{weight:g}" for name, weight in weights.items())
