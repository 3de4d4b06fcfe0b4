"""Lovász-softmax (Berman et al., CVPR 2018, arXiv 1705.08790), a convex surrogate of mean IoU."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.region import RegionLoss
from utils.resizing import upsampled


class LovaszSoftmax(RegionLoss):
    """The mean over the classes present in the labels of the Lovász extension of 1 - IoU.

    For class c, the error of a pixel is m = 1 - p_c if c is its label, else p_c. With the errors of
    the batch's pixels sorted in decreasing order, the loss is sum_i m_i g_i, where g is
    `jaccard_gradient` (equations 8 and 9).

    The loss sorts all pixels once per class, and holds the probabilities at the size of the labels:
    it needs several times the time and memory of a cross entropy.
    """

    term = "lovasz"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        probabilities = upsampled(logits, labels.shape[-2:]).softmax(1)
        scores = probabilities.transpose(0, 1).flatten(1)                   # (K, N * H * W)
        labels = labels.flatten()
        valid = labels != self.ignore_label
        total, num_present = scores.new_zeros(()), scores.new_zeros(())
        for index, score in enumerate(scores):
            is_class = labels == index
            is_present = is_class.any()
            # an ignored pixel has an error of 0 and sorts last, where it changes nothing
            errors = (is_class.to(score.dtype) - score).abs() * valid
            errors, order = errors.sort(descending=True)
            gradient = jaccard_gradient(is_class[order].to(score.dtype))
            # a product, because a branch would wait for the GPU
            total = total + is_present * (errors * gradient).sum()
            num_present = num_present + is_present
        return total / num_present.clamp(min=1)


def jaccard_gradient(is_class: Tensor) -> Tensor:
    """Returns the gradient of the Lovász extension of the Jaccard loss (the paper's algorithm 1).

    If the i pixels with the largest errors are wrong, the loss is J_i = 1 - intersection / union:
    of the class's pixels those among the first i are missed, and the others among the first i are
    added to the union. The gradient is g_i = J_i - J_(i - 1).

    Args:
        is_class: (P,) float, 1 where a pixel belongs to the class, sorted by decreasing error.

    Returns:
        (P,), the factor g_i of each sorted error.
    """
    missed = is_class.cumsum(0)
    intersection = is_class.sum() - missed
    union = is_class.sum() + (1 - is_class).cumsum(0)
    jaccard = 1 - intersection / union.clamp(min=1)
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
