"""Color jitter, computed as a single matrix, and blur."""
from __future__ import annotations

import math

import cv2
import numpy as np

from transforms.base import Focus, Pair

# RGB to YIQ (NTSC): luma, then two axes of color in which a change of hue is a rotation
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
LUMA = YIQ[0]


class ColorJitter:
    """Changes brightness, contrast, saturation and hue at random, by a single 3x4 matrix.

    With factors b, c, s uniform in [1 - strength, 1 + strength] (but at least 0), a turn h uniform
    in [-hue, hue] and m the mean luma of the crop, in this order:

        brightness  x -> b x
        contrast    x -> c x + (1 - c) b m
        saturation  x -> s x + (1 - s) luma(x)
        hue         x rotated by 360 h degrees about the gray axis of YIQ, which keeps luma

    All are affine. With the matrices S of saturation and H of hue, which both keep grays, together
    they are x -> c b H S x + (1 - c) b m, clipped to [0, 255] once at the end. torchvision's
    ColorJitter shuffles the order, clips after each operation and rotates the hue in HSV.

    Args:
        brightness, contrast, saturation: strengths, at least 0.
        hue: in turns, 0 to 0.5.

    Raises:
        ValueError: a strength is out of range.
    """

    def __init__(self, brightness: float = 0.25, contrast: float = 0.25, saturation: float = 0.25,
                 hue: float = 0.25) -> None:
        if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
            raise ValueError(f"color strengths {brightness}, {contrast}, {saturation} and a hue of "
                             f"{hue} turns: none may be negative and hue is at most 0.5 "
                             "(--color_aug).")
        self.strengths = (brightness, contrast, saturation)
        self.hue = hue

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws the factors; returns their `color_matrix` for a crop of mean luma 1."""
        brightness, contrast, saturation = (
            max(0.0, rng.uniform(1 - strength, 1 + strength)) for strength in self.strengths)
        turn = rng.uniform(-self.hue, self.hue)
        return color_matrix(brightness=brightness, contrast=contrast, saturation=saturation,
                            turn=turn, mean_luma=1)

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        matrix = self.draw(rng)
        # the offset (1 - c) b m is proportional to the mean luma m
        matrix[:, 3] *= LUMA @ cv2.mean(image)[:3]
        return cv2.transform(image, matrix), label


class GaussianBlur:
    """Blurs with a probability, by a Gaussian of sigma uniform in [sigma_min, sigma_max] pixels.

    Args:
        probability: in [0, 1].

    Raises:
        ValueError: the probability is not in [0, 1].
    """

    def __init__(self, probability: float = 0.5, sigma_min: float = 0.15,
                 sigma_max: float = 1.3) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"--gblur_prob {probability} is not a probability: give a number from "
                             "0 to 1.")
        self.probability = probability
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def draw(self, rng: np.random.Generator) -> float:
        """Draws a sigma in pixels; 0 does not blur."""
        if rng.random() < self.probability:
            return rng.uniform(self.sigma_min, self.sigma_max)
        return 0.0

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        sigma = self.draw(rng)
        if sigma:
            image = self.blurred(image, sigma)
        return image, label

    def blurred(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Returns the image (H, W, 3) uint8 blurred by a sigma in pixels."""
        return cv2.GaussianBlur(image, (0, 0), sigma)


class BilateralBlur(GaussianBlur):
    """Blurs as `GaussianBlur` does but keeps edges: pixels of another color have less weight."""

    # in color levels of [0, 255]
    COLOR_SIGMA = 50.0

    def blurred(self, image: np.ndarray, sigma: float) -> np.ndarray:
        return cv2.bilateralFilter(image, 0, self.COLOR_SIGMA, sigma)


def color_matrix(*, brightness: float, contrast: float, saturation: float, turn: float,
                 mean_luma: float) -> np.ndarray:
    """Returns the (3, 4) matrix of `ColorJitter`: c b H S and the offset, for RGB in [0, 255].

    Args:
        brightness, contrast, saturation: factors, at least 0; 1 changes nothing.
        turn: of the hue; 1 is a full turn.
        mean_luma: of the crop, in [0, 255].
    """
    saturate = saturation * np.eye(3) + (1 - saturation) * LUMA
    cosine, sine = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    rotate = np.linalg.inv(YIQ) @ rotation @ YIQ
    offset = np.full((3, 1), (1 - contrast) * brightness * mean_luma)
    return np.hstack([contrast * brightness * rotate @ saturate, offset])
