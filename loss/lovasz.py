"""Lovász-softmax (Berman et al., CVPR 2018, arXiv 1705.08790): a convex surrogate of the mean IoU."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.pixel import raised
from loss.region import RegionLoss


class LovaszSoftmax(RegionLoss):
    """The Lovász extension of each class's Jaccard loss, over the batch, averaged over the classes that are there.

    It sorts every pixel once a class, and holds the probabilities at the labels' size: several times a cross entropy's
    time and memory.
    """

    term = "lovasz"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        scores = raised(logits, labels.shape[-2:]).softmax(1).transpose(0, 1).flatten(1)        # (K, N H W)
        labels = labels.flatten()
        valid = labels != self.ignore_label
        total, present = scores.new_zeros(()), scores.new_zeros(())
        for index, score in enumerate(scores):
            truth = labels == index
            there = truth.any()
            # An ignored pixel's error of 0 sorts last, where it changes nothing.
            errors, order = ((truth.to(score.dtype) - score).abs() * valid).sort(descending=True)
            total = total + there * (errors * jaccard_gradient(truth[order].to(score.dtype))).sum()
            present = present + there
        return total / present.clamp(min=1)


def jaccard_gradient(truth: Tensor) -> Tensor:
    """Returns the gradient of the Lovász extension for errors sorted downwards, (P,) (the paper's algorithm 1).

    Args:
        truth: 1 where a pixel belongs to the class, in the errors' order.
    """
    missed = truth.cumsum(0)
    intersection = truth.sum() - missed
    union = truth.sum() + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union.clamp(min=1)
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
