"""Temperature scaling: one number that calibrates the probabilities of a network.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. Logits are
divided by T > 0, which changes no label. T minimizes the negative log likelihood of the labels,

    NLL(T) = -1/n sum_i log softmax(z_i / T)[y_i]

which is convex in 1 / T. It is fitted on pixels drawn from every image, so that no image's
probabilities are kept.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

from utils import IGNORE_LABEL
from utils.evaluation import calibration
from utils.evaluation.confidence import SMALLEST_PROBABILITY

LOWEST, HIGHEST = 0.05, 20.0


class Fit(NamedTuple):
    """A temperature, and what it changes on the pixels on which it was fitted.

    Attributes:
        nll_before, nll_after: mean negative log likelihood in nats, with T = 1 and with T.
        ece_before, ece_after: expected calibration error in [0, 1].
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def draw_pixels(probabilities: Tensor, labels: Tensor, most: int,
                rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws labeled pixels of an image without replacement.

    Args:
        probabilities: (K, H, W), with T = 1.
        labels: (H, W) train ids.
        most: number of pixels; all labeled ones if there are fewer.

    Returns:
        The logarithms of their probabilities, (P, K) float32, and their labels, (P,).
    """
    positions = torch.nonzero(labels.flatten() != IGNORE_LABEL)[:, 0].numpy()
    if len(positions) > most:
        positions = rng.choice(positions, most, replace=False)
    chosen = torch.from_numpy(np.sort(positions))
    values = probabilities.flatten(1).cpu()[:, chosen].T.clamp(min=SMALLEST_PROBABILITY).log()
    return values.numpy(), labels.flatten()[chosen].numpy()


def fit(log_probabilities: np.ndarray, labels: np.ndarray) -> Fit:
    """Fits a temperature.

    Args:
        log_probabilities: (P, K), with T = 1.
        labels: (P,) train ids below K.

    Raises:
        ValueError: there is no pixel, or the best temperature is not between `LOWEST` and
            `HIGHEST`.
    """
    if len(labels) == 0:
        raise ValueError("no pixel has a label, so there is nothing to fit a temperature on: "
                         "choose another split")

    def nll(log_temperature: float) -> float:
        scores = log_softmax(log_probabilities / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(labels)), labels].mean())

    bounds = np.log(LOWEST), np.log(HIGHEST)
    best = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    # where an end is as good, the likelihood has no minimum between them
    if min(map(nll, bounds)) <= best.fun:
        raise ValueError(f"the best temperature is beyond {LOWEST} to {HIGHEST}: the network is "
                         "never wrong on these pixels, or no better than chance. Fit it on "
                         "another split, or train it longer")
    temperature = float(np.exp(best.x))
    return Fit(temperature, nll(0.0), float(best.fun), _ece(log_probabilities, labels, 1.0),
               _ece(log_probabilities, labels, temperature))


def _ece(log_probabilities: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    probabilities = torch.from_numpy(np.exp(log_softmax(log_probabilities / temperature, axis=1)))
    largest, chosen = probabilities.max(dim=1)
    counts = calibration.count(largest[None], chosen[None], torch.from_numpy(labels)[None].long())
    error = calibration.expected_calibration_error(counts)
    # there is a pixel
    assert error is not None
    return error
