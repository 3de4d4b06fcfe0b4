"""Losses: a criterion maps (outputs, labels) to a dict of weighted terms, which the loop adds."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

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
from loss.options import ADDED_LOSSES, LossOptions, add_flags
from loss.relaxation import RelaxedCrossEntropy
from loss.sum_of_losses import SumOfLosses
from utils import IGNORE_LABEL

__all__ = [
    "Criterion",
    "CrossEntropy",
    "DeepSupervision",
    "DiceLoss",
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
    """Returns the criterion: one for `main`, applied to auxiliaries, body and edge, plus others.

    Args:
        class_names: in the order of the train ids.

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
    weights = {flag: getattr(options, flag) for flag in ADDED_LOSSES}
    added = [ADDED_LOSSES[flag](weight, ignore_label) for flag, weight in weights.items() if weight]
    return SumOfLosses([criterion, *added]) if added else criterion


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"loss.{name} is now loss.{RENAMED[name]}; the next release drops the old name",
                  DeprecationWarning, stacklevel=2)
    return globals()[RENAMED[name]]
