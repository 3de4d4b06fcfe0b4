"""Cross entropy with class weights and label smoothing."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import loss
from tests.loss.cases import case, mean_cross_entropy, total


def test_cross_entropy_is_torchs() -> None:
    logits, labels = case()
    torch.testing.assert_close(
        loss.CrossEntropy()({"main": logits}, labels)["main"], mean_cross_entropy(logits, labels)
    )


def test_class_weights_and_smoothing_are_torchs() -> None:
    logits, labels = case()
    weights = [0.5, 1.0, 2.0, 3.0, 0.1]
    expected = F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(
        total(loss.CrossEntropy(class_weights=weights), logits, labels), expected
    )
    torch.testing.assert_close(
        total(loss.CrossEntropy(label_smoothing=0.2), logits, labels),
        F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.2),
    )


def test_weights_of_another_number_of_classes_are_refused() -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="4 class weights, but the logits have 5 classes"):
        loss.CrossEntropy(class_weights=[1.0] * 4)({"main": logits}, labels)


def test_the_normalizer_is_the_sum_of_the_pixels_weights() -> None:
    labels = torch.tensor([[[0, 0, 1, 255]]])
    assert loss.CrossEntropy().normalizers(labels) == {"main": 3}
    # 0.5 + 0.5 + 2
    assert loss.CrossEntropy(class_weights=[0.5, 2.0]).normalizers(labels) == {"main": 3}
    assert loss.CrossEntropy(class_weights=[0.5, 3.0]).normalizers(labels) == {"main": 4}
