"""Several criteria on the same outputs."""
from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import loss
from loss.criterion import Criterion
from tests.loss.cases import case
from tests.loss.test_decoupled import labels_of_two_halves, outputs


class EpochRecorder(Criterion):
    """Returns no terms and keeps the epoch."""

    epoch = -1

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def test_all_terms_are_returned_by_name() -> None:
    logits, labels = case()
    terms = loss.SumOfLosses([loss.CrossEntropy(), loss.DiceLoss(2.0)])({"main": logits}, labels)
    assert terms.keys() == {"main", "dice"}
    torch.testing.assert_close(terms["main"], loss.CrossEntropy()({"main": logits}, labels)["main"])
    torch.testing.assert_close(terms["dice"], loss.DiceLoss(2.0)({"main": logits}, labels)["dice"])


def test_every_criterion_gets_the_epoch() -> None:
    recorders = [EpochRecorder(), EpochRecorder()]
    loss.SumOfLosses(recorders).set_epoch(7)
    assert [recorder.epoch for recorder in recorders] == [7, 7]


def test_terms_with_normalizers_add_up_over_micro_batches() -> None:
    all_outputs, labels = outputs(), labels_of_two_halves()
    labels[0, :3] = 255
    criterion = loss.SumOfLosses([loss.JointBodyEdgeLoss(loss.CrossEntropy()), loss.DiceLoss()])
    whole, normalizers = criterion(all_outputs, labels), criterion.normalizers(labels)
    assert whole.keys() == normalizers.keys()
    without = {name for name, normalizer in normalizers.items() if normalizer is None}
    assert without == {"edge_main", "dice"}
    for name in ("main", "body", "edge"):
        total = torch.zeros(())
        for i in range(2):
            micro_batch = {key: logits[i:i + 1] for key, logits in all_outputs.items()}
            term = criterion(micro_batch, labels[i:i + 1])[name]
            total = total + term * criterion.normalizers(labels[i:i + 1])[name]
        torch.testing.assert_close(total / normalizers[name], whole[name])


def test_the_old_name_warns_and_works() -> None:
    message = r"loss\.Combination is deprecated: use loss\.SumOfLosses"
    with pytest.warns(DeprecationWarning, match=message):
        assert loss.Combination is loss.SumOfLosses
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loss.SumOfLosses
    with pytest.raises(AttributeError, match="no attribute 'Combinations'"):
        loss.Combinations  # noqa: B018
