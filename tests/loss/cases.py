"""Criteria, logits and labels that the tests of the losses share."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import loss

CRITERIA = [
    loss.CrossEntropy(),
    loss.CrossEntropy(label_smoothing=0.1),
    loss.OhemCrossEntropy(thresh=0.7, min_kept=50),
    loss.OhemCrossEntropy(thresh=0.7, min_kept=0.1),
    loss.FocalLoss(),
    loss.FocalLoss(gamma=0.5),
    loss.ImageWeightedCrossEntropy(),
    loss.ImageWeightedCrossEntropy(per_batch=True),
    loss.RelaxedCrossEntropy(),
    loss.RelaxedCrossEntropy(bound=0.0, strict_classes=(1,)),
    loss.DiceLoss(),
    loss.LovaszSoftmax(),
]
COMBINED = [
    loss.CrossEntropy(),
    loss.CrossEntropy(class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1),
    loss.OhemCrossEntropy(0.7, 50),
    loss.OhemCrossEntropy(0.7, 0.5),
    loss.FocalLoss(),
    loss.ImageWeightedCrossEntropy(),
    loss.RelaxedCrossEntropy(),
    loss.DiceLoss(),
    loss.LovaszSoftmax(),
    loss.DeepSupervision(loss.OhemCrossEntropy(0.7, 50), 0.4),
    loss.SumOfLosses(
        [loss.JointBodyEdgeLoss(loss.CrossEntropy(), edge_thresh=0.5), loss.DiceLoss()]
    ),
]
every_criterion = pytest.mark.parametrize(
    "criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__
)


def case(shape: tuple[int, ...] = (2, 5, 12, 16), size: tuple[int, int] = (12, 16),
         ignored: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns logits of a shape (N, K, h, w) with gradient, and labels of a size (H, W).

    Args:
        ignored: fraction of the labels that are 255.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, shape[1], (shape[0], *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return torch.randn(shape, generator=generator).requires_grad_(), labels


def case_of_all_outputs(size: int) -> tuple[dict[str, Tensor], Tensor]:
    """Returns `main`, `aux0`, `body` and `edge` at (size, size), and labels of 16x16."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator)
    labels[:, :3] = 255
    channels = {"main": 3, "aux0": 3, "body": 3, "edge": 1}
    outputs = {name: torch.randn(2, count, size, size, generator=generator).requires_grad_()
               for name, count in channels.items()}
    return outputs, labels


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns torch's cross entropy of the full-size logits."""
    full = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(full, labels, ignore_index=255)


def total(criterion: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the single term of a criterion."""
    term, = criterion({"main": logits}, labels).values()
    return term
