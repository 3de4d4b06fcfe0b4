"""Fog, rain, snow and night, drawn over an image taken by day.

They are simple models of what the weather does to a picture, without the depth of the scene: scores
fall in the order of the severities, but are no measurement of real weather, which the dataset ACDC
shows (arXiv 2104.13395).

Each function takes an image (H, W, 3) uint8 RGB, a severity from 1 to 5 and a generator, and
returns an image of the same size. Sizes are relative to the image's height.
"""
from __future__ import annotations

import cv2
import numpy as np

from utils.evaluation.corruptions.camera import line_kernel, to_image

FOG_COLOR = 215.0
# largest share of the fog's color
FOG_DENSITIES = (0.5, 0.65, 0.77, 0.86, 0.93)
# share of the picture that drops cover, and flakes of one size about
RAIN_COVERS = (0.02, 0.04, 0.07, 0.11, 0.16)
SNOW_COVERS = (0.01, 0.018, 0.03, 0.045, 0.065)
# radius of flakes as a fraction of the height, and how many of them there are
FLAKES = ((0.003, 1.0), (0.007, 0.8), (0.013, 0.35))
# by which rain darkens, and snow brightens
RAIN_LIGHT = (0.9, 0.83, 0.76, 0.7, 0.64)
SNOW_HAZE = (0.08, 0.14, 0.2, 0.27, 0.34)
# light that is left, and its noise as a fraction of white
NIGHT_LIGHT = (0.6, 0.48, 0.37, 0.28, 0.2)
NIGHT_NOISE = (0.01, 0.015, 0.02, 0.027, 0.035)
# of red, green and blue
NIGHT_TINT = np.array([0.85, 0.9, 1.1], np.float32)


def fog(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blends with the color of fog, thicker in clouds and towards the top, where streets are far.

    This is Koschmieder's law, image * t + fog * (1 - t), with the transmission t from noise and
    height in place of the depth.
    """
    height, width = image.shape[:2]
    # 1 at the top, 0.45 at the bottom
    rows = np.linspace(1, 0.45, height, dtype=np.float32)[:, None]
    density = FOG_DENSITIES[severity - 1] * rows * (0.75 + 0.25 * clouds(height, width, rng))
    density = density[..., None]
    return to_image(image * (1 - density) + FOG_COLOR * density)


def rain(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Darkens, lowers the contrast, and draws bright streaks of one direction."""
    height = image.shape[0]
    length = max(3.0, (0.03 + 0.008 * severity) * height)
    drops = _sparse(image, RAIN_COVERS[severity - 1] / length, rng)
    streaks = cv2.filter2D(drops, -1, line_kernel(length, rng.uniform(70, 110)) * length)
    streaks = 0.55 * np.clip(streaks, 0, 1)[..., None]
    light = RAIN_LIGHT[severity - 1]
    darker = image * light + (1 - light) * 0.4 * float(image.mean())
    return to_image(darker * (1 - streaks) + 215 * streaks)


def snow(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Brightens, and draws flakes of three sizes that fall in one direction."""
    height, width = image.shape[:2]
    flakes = np.zeros((height, width), np.float32)
    angle = rng.uniform(60, 120)
    for size, share in FLAKES:
        radius = max(0.7, size * height)
        density = share * SNOW_COVERS[severity - 1] / (4 * radius ** 2)
        layer = cv2.GaussianBlur(_sparse(image, density, rng), (0, 0), radius / 2)
        # a flake is white at its center, whatever its size
        layer *= 2 * np.pi * (radius / 2) ** 2
        kernel = line_kernel(2 * radius, angle)
        flakes = np.maximum(flakes, cv2.filter2D(layer, -1, kernel))
    flakes = 0.95 * np.clip(flakes, 0, 1)[..., None]
    haze = SNOW_HAZE[severity - 1]
    brighter = image * (1 - haze) + 235 * haze
    return to_image(brighter * (1 - flakes) + 250 * flakes)


def night(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Leaves a share of the light, bluer and darker in the dark parts, with a sensor's noise."""
    light = NIGHT_LIGHT[severity - 1]
    # the exponent keeps bright things, such as lamps, visible
    levels = (np.arange(256, dtype=np.float32) / 255) ** (1 + 0.1 * severity) * 255 * light
    values = levels[image] * NIGHT_TINT
    grain = 255 * NIGHT_NOISE[severity - 1] * rng.standard_normal(image.shape, np.float32)
    return to_image(values + grain)


def clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns smooth noise (H, W) float32 in [0, 1]: octaves of random grids, halved in strength.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(5):
        cells = 2 ** (octave + 1)
        grid = rng.random((cells + 1, cells + 1), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _sparse(image: np.ndarray, density: float, rng: np.random.Generator) -> np.ndarray:
    """Returns (H, W) float32: 1 in a random share of the pixels, 0 elsewhere."""
    height, width = image.shape[:2]
    points = np.zeros(height * width, np.float32)
    count = max(1, round(density * len(points)))
    points[rng.integers(0, len(points), count)] = 1
    return points.reshape(height, width)
