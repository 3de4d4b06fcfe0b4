"""Losses: a criterion maps (outputs, labels) to a dict of weighted terms.

The training loop adds the terms.
"""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from loss.boundary import BoundaryLoss
from loss.class_weights import read_class_weights
from loss.criterion import Criterion
from loss.cross_entropy import CrossEntropy
from loss.decoupled import JointBodyEdgeLoss
from loss.deep_supervision import DeepSupervision
from loss.dice import DiceLoss
from loss.distillation import Distillation
from loss.focal import FocalLoss
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.lovasz import LovaszSoftmax
from loss.ohem import OhemCrossEntropy
from loss.options import ADDED_LOSSES, LossOptions, add_flags
from loss.relaxation import RelaxedCrossEntropy
from loss.sum_of_losses import SumOfLosses
from utils import IGNORE_LABEL

__all__ = [
    "BoundaryLoss",
    "Criterion",
    "CrossEntropy",
    "DeepSupervision",
    "DiceLoss",
    "Distillation",
    "FocalLoss",
    "ImageWeightedCrossEntropy",
    "JointBodyEdgeLoss",
    "LossOptions",
    "LovaszSoftmax",
    "OhemCrossEntropy",
    "RelaxedCrossEntropy",
    "SumOfLosses",
    "add_flags",
    "build",
]

# old name -> new name, for one release
RENAMED = {"Combination": "SumOfLosses"}


def build(options: LossOptions, *, class_names: Sequence[str],
          ignore_label: int = IGNORE_LABEL) -> Criterion:
    """Returns the criterion that the options describe.

    The chosen criterion of `main` is also applied to the auxiliary outputs, and joined by the
    losses of body and edge, the Lovász-softmax loss, the Dice loss, the boundary loss and the
    distillation where these are switched on.

    Args:
        class_names: in the order of the train ids.
        ignore_label: the label of pixels that have no loss.

    Raises:
        FileNotFoundError: the file of class weights does not exist.
        ValueError: the file of class weights is invalid, or `strict_bdr_cls` has an unknown id.
    """
    for train_id in options.strict_bdr_cls:
        if not 0 <= train_id < len(class_names):
            raise ValueError(f"--strict_bdr_cls names {train_id}, but the train ids are "
                             f"0 to {len(class_names) - 1}")
    class_weights = None
    if options.class_weights is not None:
        class_weights = read_class_weights(options.class_weights, class_names)
    criterion = options.build_criterion(class_weights, ignore_label)
    if options.auxiliary_weight is not None:
        criterion = DeepSupervision(criterion, options.auxiliary_weight)
    if options.joint_edgeseg_loss:
        criterion = JointBodyEdgeLoss(criterion, ignore_label)
    added: list[Criterion] = []
    for flag, added_loss in ADDED_LOSSES.items():
        weight = getattr(options, flag)
        if weight:
            added.append(added_loss(weight, ignore_label))
    if options.boundary_weight:
        added.append(BoundaryLoss(options.boundary_weight, options.boundary_width, ignore_label))
    if options.distillation:
        added.append(Distillation(
            options.distillation, temperature=options.distill_temperature,
            warmup_steps=options.distill_warmup, labeled_only=options.distill_on == "labeled",
            ignore_label=ignore_label))
    return SumOfLosses([criterion, *added]) if added else criterion


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"loss.{name} is deprecated: use loss.{RENAMED[name]}", DeprecationWarning,
                  stacklevel=2)
    return globals()[RENAMED[name]]
