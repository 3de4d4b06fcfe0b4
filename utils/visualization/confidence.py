"""Pictures of confidence: maps in [0, 1] in colors, from dark for unsure to light for sure."""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from utils.visualization import label_maps

# height of the bar of colors as a share of its width
BAR_RATIO = 0.12
# of the values whose colors a legend lists
LEGEND_VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
TITLES = {"probability": "Probability of the class", "margin": "Margin to the second class"}
MIN_WIDTH = 256


def colors(values: np.ndarray) -> np.ndarray:
    """Returns a map (H, W) of values in [0, 1] as (H, W, 3) uint8 RGB.

    The colors are those of matplotlib's viridis: their lightness grows evenly, also for
    color-blind readers.
    """
    indices = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(indices, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def legend() -> list[tuple[tuple[int, int, int], str]]:
    """Returns (RGB, text) of `LEGEND_VALUES`."""
    rows = colors(np.array([LEGEND_VALUES]))[0].tolist()
    return [((red, green, blue), f"{100 * value:.0f} %")
            for (red, green, blue), value in zip(rows, LEGEND_VALUES, strict=True)]


def bar(width: int) -> np.ndarray:
    """Returns the (height, width, 3) legend of `colors`, 0 at the left and 1 at the right."""
    ramp = np.linspace(0, 1, width)[None].repeat(max(1, round(BAR_RATIO * width)), 0)
    return colors(ramp)


def title(name: str, values: np.ndarray) -> str:
    """Returns the title of a map: the measure and its mean over the image."""
    return f"{TITLES[name]}: mean {100 * float(values.mean()):.1f} %"


def sheet(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns an image and its maps (H, W) as panels of the size of `image`, (h, w, 3)."""
    size = image.shape[1::-1]
    titled = [("Image", label_maps.widen(image, MIN_WIDTH))]
    for name, values in maps.items():
        picture = cv2.resize(colors(values), size, interpolation=cv2.INTER_LINEAR)
        titled.append((title(name, values), label_maps.widen(picture, MIN_WIDTH)))
    strip = label_maps.legend([(text, rgb) for rgb, text in legend()],
                              label_maps.panels(titled).shape[1])
    return np.concatenate([label_maps.panels(titled), strip])
