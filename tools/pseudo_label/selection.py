"""Which pixels of a prediction become labels: thresholds on the probability of their class.

Probabilities are counted and stored as codes. With p the probability of the predicted class,

    code = floor(CODES / 24 * -log2(1 - p)), at most CODES - 1

Its steps are finest near p = 1, where most pixels of the common classes lie: a step is 0.8 % of
1 - p. 1 - 2^-24 is the largest float32 below 1.

A threshold per class that keeps a share of each class is that of class-balanced self-training (Zou
et al., ECCV 2018, arXiv 1810.07911, section 4.1).
"""
from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils import IGNORE_LABEL
from utils.cli import fraction

CODES = 2048
HALVINGS = 24
# of the auto-labeled coarse images of Cityscapes (Tao et al., arXiv 2005.10821)
DEFAULT_THRESHOLD = 0.9


@dataclass(frozen=True)
class Selection:
    """Which pixels become labels.

    Args:
        threshold: smallest probability of a label; `DEFAULT_THRESHOLD` if both are None.
        keep_share: share of the pixels of each class that are kept, the most probable ones, in
            (0, 1]. With a threshold, a class keeps all pixels above it if these are more.

    Raises:
        ValueError: the share is 0.
    """

    threshold: float | None = None
    keep_share: float | None = None

    def __post_init__(self) -> None:
        if self.keep_share == 0:
            raise ValueError("--keep_share 0 keeps no pixel: give a share above 0, up to 1.")
        if self.threshold is None and self.keep_share is None:
            object.__setattr__(self, "threshold", DEFAULT_THRESHOLD)

    @classmethod
    def from_args(cls, args: Namespace) -> Selection:
        return cls(args.threshold, args.keep_share)

    @property
    def needs_histogram(self) -> bool:
        """Whether all images must be predicted before the thresholds are known."""
        return self.keep_share is not None

    def __str__(self) -> str:
        parts = []
        if self.threshold is not None:
            parts.append(f"threshold {self.threshold:g}")
        if self.keep_share is not None:
            parts.append(f"at least {100 * self.keep_share:g} % of each class")
        return " or ".join(parts)

    def select(self, labels: Tensor, probability: Tensor) -> Tensor:
        """Returns labels (H, W) with 255 where the probability is below the threshold."""
        assert self.threshold is not None
        return labels.where(probability >= self.threshold, IGNORE_LABEL)

    def smallest_codes(self, histogram: np.ndarray) -> np.ndarray:
        """Returns the smallest code (K,) of each class that is kept.

        Args:
            histogram: (K, CODES) pixels of all images by class and code.
        """
        assert self.keep_share is not None
        # pixels with this code or a higher one: it falls with the code
        at_least = histogram[:, ::-1].cumsum(1)[:, ::-1]
        # a product such as 0.1 * 30 may be a little above the whole number
        needed = np.ceil(self.keep_share * at_least[:, :1] - 1e-6).clip(1)
        # a class that is never predicted gets code 0
        smallest = ((at_least >= needed).sum(1) - 1).clip(0)
        if self.threshold is None:
            return smallest
        return np.minimum(smallest, code_above(self.threshold))


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of `Selection`."""
    group = parser.add_argument_group("Selection")
    group.add_argument("--threshold", type=fraction, metavar="P",
                       help="probability, 0 to 1, from which a pixel becomes a label; others are "
                            f"ignored (default: {DEFAULT_THRESHOLD} without --keep_share)")
    group.add_argument("--keep_share", type=fraction, metavar="SHARE",
                       help="keep this share of each class's pixels, the most probable ones: a "
                            "threshold for each class, so that no rare class is emptied. Needs 2 "
                            "to 3 bytes a pixel on the disk until all images are predicted. With "
                            "--threshold, pixels above that are kept as well")


def codes(probability: Tensor) -> Tensor:
    """Returns the codes of probabilities in [0, 1], int32; NaN gets code 0."""
    rest = (1 - probability.nan_to_num(0.0)).clamp_(min=2.0 ** -HALVINGS)
    return rest.log2_().mul_(-CODES / HALVINGS).to(torch.int32).clamp_(0, CODES - 1)


def code_above(probability: float) -> int:
    """Returns the smallest code whose pixels all have at least this probability."""
    if probability >= 1:
        return CODES
    return math.ceil(CODES / HALVINGS * -math.log2(1 - probability))


def probability_of(code: np.ndarray | int) -> np.ndarray:
    """Returns the smallest probability that has a code."""
    return 1 - np.exp2(-HALVINGS / CODES * np.asarray(code, np.float64))


def count(labels: Tensor, code: Tensor, num_classes: int) -> np.ndarray:
    """Returns (K, CODES) int64: pixels of an image by class and code."""
    pairs = labels.flatten().long() * CODES + code.flatten()
    counts = torch.bincount(pairs, minlength=num_classes * CODES)
    return counts.view(num_classes, CODES).cpu().numpy()
