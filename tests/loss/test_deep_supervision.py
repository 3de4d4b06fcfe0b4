"""Deep supervision."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

import loss
from tests.loss.cases import case, mean_cross_entropy
from tests.loss.recorded import drawn, recorded


def test_deep_supervision_weights_each_auxiliary() -> None:
    logits, labels = case()
    small, _ = case((2, 5, 6, 8), seed=1)
    terms = loss.DeepSupervision(loss.CrossEntropy(), aux_weight=0.4)(
        {"main": logits, "aux0": small}, labels
    )
    assert set(terms) == {"main", "aux0"}
    torch.testing.assert_close(terms["main"], mean_cross_entropy(logits, labels))
    torch.testing.assert_close(terms["aux0"], 0.4 * mean_cross_entropy(small, labels))


def test_deep_supervision_equals_the_recorded_numbers(parity: Path) -> None:
    cases, makers = recorded(parity)
    numbers = cases["dsn"]
    labels = torch.from_numpy(
        makers.labels(numbers["label_seed"], tuple(numbers["label_shape"]), 19)
    )
    outputs = {"main": drawn(numbers["main_seed"], numbers["main_shape"]).requires_grad_()}
    for i, (seed, shape) in enumerate(
        zip(numbers["aux_seeds"], numbers["aux_shapes"], strict=True)
    ):
        outputs[f"aux{i}"] = drawn(seed, shape).requires_grad_()
    criterion = loss.DeepSupervision(loss.OhemCrossEntropy(numbers["thresh"], numbers["min_kept"]),
                                     numbers["aux_weight"])
    total = sum(criterion(outputs, labels).values())
    total.backward()
    assert total.item() == pytest.approx(numbers["loss"], rel=1e-5)
    norms = [logits.grad.norm().item() for logits in outputs.values()]
    assert norms == pytest.approx([numbers["main_grad_norm"], *numbers["aux_grad_norms"]], rel=1e-4)
