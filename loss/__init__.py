"""The criteria: (outputs, labels) -> dict of weighted terms, which the loop sums and logs by name."""
from __future__ import annotations

from argparse import ArgumentParser

from loss.criterion import Criterion
from loss.cross_entropy import CrossEntropy
from loss.deep_supervision import DeepSupervision
from loss.ohem import OhemCrossEntropy
from utils.flags import add_switch

__all__ = ["Criterion", "CrossEntropy", "DeepSupervision", "OhemCrossEntropy", "add_flags", "build"]


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Loss")
    add_switch(group, "--ohem", default=False, help="train on the hard pixels only (online hard example mining)")
    group.add_argument("--ohem_thresh", type=float, default=0.7,
                       help="a pixel is hard when its true class scores at most this, a probability in (0, 1]")
    group.add_argument("--ohem_min_kept", type=float, default=100_000,
                       help="pixels of a process's batch that are kept at least; below 1, a share of them")
    group.add_argument("--aux_weight", type=float, default=1.0, help="factor of each auxiliary loss (--fpn_dsn_loss)")


def build(*, ohem: bool, ohem_thresh: float, ohem_min_kept: float, batch_pixels: int, deep_supervision: bool,
          aux_weight: float, ignore_label: int = 255) -> Criterion:
    """Returns the criterion.

    Args:
        batch_pixels: pixels of one process's batch, of which an `ohem_min_kept` below 1 is a share.
    """
    min_kept = int(ohem_min_kept * batch_pixels if ohem_min_kept < 1 else ohem_min_kept)
    base = OhemCrossEntropy(ohem_thresh, max(1, min_kept), ignore_label) if ohem else CrossEntropy(ignore_label)
    return DeepSupervision(base, aux_weight) if deep_supervision else base
