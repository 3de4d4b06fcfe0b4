"""Faults of a camera: blur, noise, compression and low contrast.

The kinds, and the strengths of JPEG and contrast, follow Hendrycks and Dietterich (ICLR 2019, arXiv
1903.12261). Blur is relative to the image's height, so that it means the same at any resolution.

Each function takes an image (H, W, 3) uint8 RGB, a severity from 1 to 5 and a generator, and
returns an image of the same size.
"""
from __future__ import annotations

import cv2
import numpy as np

# by severity; lengths as fractions of the height
MOTION_LENGTHS = (0.012, 0.02, 0.03, 0.045, 0.06)
DEFOCUS_RADII = (0.003, 0.005, 0.008, 0.011, 0.015)
# standard deviation, as a fraction of white
NOISE_LEVELS = (0.04, 0.07, 0.11, 0.17, 0.25)
JPEG_QUALITIES = (25, 18, 15, 10, 7)
CONTRASTS = (0.6, 0.45, 0.3, 0.2, 0.1)


def motion(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blurs along a line of random direction, within 30 degrees of the horizontal."""
    # the constant keeps the severities apart on small images
    length = 2 + MOTION_LENGTHS[severity - 1] * image.shape[0]
    kernel = line_kernel(length, rng.uniform(-30, 30))
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def defocus(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blurs with a disc."""
    radius = 0.7 + DEFOCUS_RADII[severity - 1] * image.shape[0]
    side = np.arange(-np.ceil(radius), np.ceil(radius) + 1)
    # the share of a pixel that the disc covers falls from 1 to 0 across its rim
    disc = np.clip(radius + 0.5 - np.hypot(side[:, None], side), 0, 1).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)


def noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Adds independent normal noise to each channel."""
    level = 255 * NOISE_LEVELS[severity - 1]
    return to_image(image + level * rng.standard_normal(image.shape, np.float32))


def jpeg(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Compresses with JPEG and reads the result."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITIES[severity - 1]]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def contrast(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Moves each value towards the mean of the image."""
    factor, mean = CONTRASTS[severity - 1], float(image.mean())
    return cv2.convertScaleAbs(image, alpha=factor, beta=(1 - factor) * mean)


def line_kernel(length: float, degrees: float) -> np.ndarray:
    """Returns the kernel of a blur along a line through its center, with sum 1.

    Args:
        length: in pixels; at least 3 are used.
        degrees: from the horizontal, clockwise on the screen.
    """
    half = max(1.0, (length - 1) / 2)
    size = 2 * int(np.ceil(half)) + 1
    kernel = np.zeros((size, size), np.float32)
    center, angle = size // 2, np.radians(degrees)
    # four points for each pixel of the line
    for step in np.linspace(-half, half, 4 * size):
        x, y = center + step * np.cos(angle), center + step * np.sin(angle)
        kernel[round(float(y)), round(float(x))] += 1
    return kernel / kernel.sum()


def to_image(values: np.ndarray) -> np.ndarray:
    """Returns values as uint8, rounded and clipped to 0..255."""
    return cv2.convertScaleAbs(np.clip(values, 0, 255))
