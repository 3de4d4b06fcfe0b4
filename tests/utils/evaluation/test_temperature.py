from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from utils.evaluation import temperature


def drawn(true_temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities that are too sure by a factor, and labels that follow softmax(z / T)."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(count, 4))
    probabilities = np.exp(log_softmax(logits / true_temperature, axis=1))
    labels = (probabilities.cumsum(1) > rng.random((count, 1))).argmax(1)
    return log_softmax(logits, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("true_temperature", [0.7, 1.0, 2.0])
def test_the_temperature_of_the_labels_is_found(true_temperature: float) -> None:
    fit = temperature.fit(*drawn(true_temperature))
    assert fit.temperature == pytest.approx(true_temperature, rel=0.05)
    assert fit.nll_after <= fit.nll_before
    assert fit.ece_after < 0.02
    if true_temperature != 1:
        assert fit.ece_before > 3 * fit.ece_after


def test_a_network_that_is_always_right_or_always_wrong_has_no_temperature() -> None:
    scores = log_softmax(np.array([[2.0, 0.0], [0.0, 2.0]]), axis=1)
    for labels in ([0, 1], [1, 0]):
        with pytest.raises(ValueError, match=r"best temperature is beyond 0\.05 to 20"):
            temperature.fit(scores, np.array(labels))
    with pytest.raises(ValueError, match="no pixel has a label"):
        temperature.fit(np.zeros((0, 2)), np.zeros(0, int))


def test_pixels_are_drawn_once_from_the_labeled_ones() -> None:
    probabilities = torch.linspace(0.01, 0.99, 24).view(1, 4, 6).repeat(2, 1, 1)
    labels = torch.full((4, 6), 255, dtype=torch.uint8)
    labels[:2, :3] = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=torch.uint8)
    scores, drawn_labels = temperature.draw_pixels(probabilities, labels, 4,
                                                   np.random.default_rng(0))
    assert scores.shape == (4, 2)
    values = np.exp(scores[:, 0])
    assert len(np.unique(values)) == 4
    # each label is that of the pixel with the probability
    flat = probabilities[0].flatten().numpy()
    positions = [int(np.abs(flat - value).argmin()) for value in values]
    assert drawn_labels.tolist() == labels.flatten()[positions].tolist()
    assert 255 not in drawn_labels
    everything, _ = temperature.draw_pixels(probabilities, labels, 100, np.random.default_rng(0))
    assert len(everything) == 6
