"""What the losses of overlapping regions share."""
from __future__ import annotations

import torch
from torch import Tensor

from loss.region import RegionLoss
from tests.loss.cases import case


class MeanLogit(RegionLoss):
    """A region loss that is easy to compute."""

    term = "mean_logit"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.mean()


def test_the_term_is_weighted_and_has_its_name() -> None:
    logits, labels = case()
    terms = MeanLogit(weight=3.0)({"main": logits}, labels)
    assert terms.keys() == {"mean_logit"}
    torch.testing.assert_close(terms["mean_logit"], 3 * logits.mean())


def test_a_ratio_over_the_batch_has_no_normalizer() -> None:
    assert MeanLogit().normalizers(case()[1]) == {"mean_logit": None}
