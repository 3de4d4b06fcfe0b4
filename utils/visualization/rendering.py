"""Pictures of predictions to look at: overlays with legends, and comparisons with the labels."""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.evaluation.evaluator import Prediction
from utils.visualization.label_maps import (
    color_mask,
    error_map,
    overlay,
    panels,
    shrink,
    widen,
    with_legend,
    write,
)

# subfolders that `dump_images` writes
SUBFOLDERS = ("colour_masks", "overlays", "label_ids", "panels")
# Narrower images are enlarged, as far as their height stays within this; in pixels. What is still
# narrower stands between two margins, so that there is room for a legend.
MIN_WIDTH, MAX_ENLARGED_HEIGHT = 384, 1536


class Rendering:
    """An image and its predictions, as pictures; small images are enlarged.

    Args:
        image: (H, W, 3) uint8 RGB.
        predictions: (H, W) uint8 train ids.
        palette: (256, 3) uint8 RGB.
        names: of the classes.
        steady: whether this is a frame of a video, see `label_maps.with_legend`.

    Attributes:
        image: the image, perhaps enlarged.
        plain_overlay: the overlay without a legend.
    """

    def __init__(self, image: np.ndarray, predictions: np.ndarray, palette: np.ndarray,
                 names: Sequence[str], *, steady: bool = False) -> None:
        self.image = _enlarge(image, cv2.INTER_CUBIC)
        self.predictions = _enlarge(predictions, cv2.INTER_NEAREST)
        self.palette, self.names, self.steady = palette, names, steady
        self.plain_overlay = overlay(self.image, self.predictions, palette)

    def overlay(self) -> np.ndarray:
        """Returns the overlay above its legend."""
        return self._with_legend(self.plain_overlay)

    def side_by_side(self) -> np.ndarray:
        """Returns image and overlay beside each other, above the legend."""
        titled = [("Image", widen(self.image, MIN_WIDTH)),
                  ("Classes", widen(self.plain_overlay, MIN_WIDTH))]
        return self._with_legend(panels(titled))

    def compare(self, labels: np.ndarray) -> np.ndarray:
        """Returns image, labels, predictions and errors in a grid, each at most 640 pixels wide."""
        labels = _enlarge(labels, cv2.INTER_NEAREST)
        titled = [
            ("Image", self.image),
            ("Labels", overlay(self.image, labels, self.palette)),
            ("Predictions", self.plain_overlay),
            ("Errors in red, ignored in dark", error_map(self.image, self.predictions, labels)),
        ]
        shrunk = [(title, widen(shrink(picture), MIN_WIDTH)) for title, picture in titled]
        return panels(shrunk, columns=2)

    def _with_legend(self, picture: np.ndarray) -> np.ndarray:
        return with_legend(widen(picture, MIN_WIDTH), self.predictions, self.palette, self.names,
                           steady=self.steady)


def dump_images(folder: Path, prediction: Prediction, spec: Any) -> None:
    """Writes pictures of a prediction to the subfolders of a folder.

    `colour_masks/NAME.png`; `overlays/NAME.png` with a legend; `label_ids/NAME.png`, in the ids of
    the dataset's label files; and with labels `panels/NAME.png`: image, labels, predictions and
    errors. Overlays and panels of small images are enlarged, masks and label ids never.

    Args:
        spec: the `DatasetSpec`; `palette`, `names` and `to_raw_ids` are read.

    Raises:
        OSError: a file cannot be written.
    """
    image = prediction.image.permute(1, 2, 0).numpy()
    predictions = prediction.predictions.cpu().numpy()
    rendering = Rendering(image, predictions, spec.palette, spec.names)
    pictures = [color_mask(predictions, spec.palette), rendering.overlay(),
                spec.to_raw_ids[predictions]]
    if prediction.labels is not None:
        pictures.append(rendering.compare(prediction.labels.numpy()))
    # without labels there are no panels, the last subfolder
    for subfolder, picture in zip(SUBFOLDERS, pictures, strict=False):
        write(folder / subfolder / f"{prediction.name}.png", picture)


def _enlarge(picture: np.ndarray, interpolation: int) -> np.ndarray:
    """Enlarges by the smallest whole factor that makes a picture `MIN_WIDTH` wide.

    The factor is smaller if the picture would be higher than `MAX_ENLARGED_HEIGHT`.
    """
    height, width = picture.shape[:2]
    factor = min(math.ceil(MIN_WIDTH / width), MAX_ENLARGED_HEIGHT // height)
    if factor <= 1:
        return picture
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=interpolation)
