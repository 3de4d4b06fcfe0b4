"""One picture with overlays of labels on images of several splits."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from datasets.listing import Sample
from datasets.reader import read_image, read_train_ids
from datasets.spec import UNKNOWN, DatasetSpec
from utils.visualization import label_maps

THUMBNAIL = 480             # pixels, width and largest height of an overlay
MAX_COLUMNS = 4


def draw_sheet(spec: DatasetSpec, samples: Mapping[str, Sequence[Sample]],
               num_images: int) -> np.ndarray:
    """Draws overlays of evenly spaced samples of the splits, above a legend of their classes.

    Args:
        samples: split -> samples with a label.
        num_images: total number of overlays.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    titled = []
    present: set[int] = set()
    for split, sample in evenly_chosen(samples, num_images):
        assert sample.label is not None
        labels = read_train_ids(sample.label, sample.spec)
        present.update(np.unique(labels).tolist())
        overlay = thumbnail(read_image(sample.image), labels, spec.palette)
        titled.append((f"{split}: {sample.name}", overlay))
    height = max(overlay.shape[0] for _, overlay in titled)
    padded = [(title, _pad(overlay, bottom=height - overlay.shape[0]))
              for title, overlay in titled]
    grid = label_maps.panels(padded, columns=min(MAX_COLUMNS, len(padded)))
    classes = [(spec.names[train_id], spec.palette[train_id])
               for train_id in sorted(present) if train_id < UNKNOWN]
    return np.concatenate([grid, label_maps.legend(classes, grid.shape[1])])


def evenly_chosen(samples: Mapping[str, Sequence[Sample]],
                  num_images: int) -> list[tuple[str, Sample]]:
    """Returns (split, sample) pairs: equally many of each split, evenly spaced within it."""
    splits = [split for split in samples if samples[split]]
    chosen = []
    for number, split in enumerate(splits):
        count = num_images // len(splits)
        if number < num_images % len(splits):
            count += 1
        count = min(count, len(samples[split]))
        indices = np.linspace(0, len(samples[split]) - 1, count).round().astype(int)
        chosen += [(split, samples[split][index]) for index in indices.tolist()]
    return chosen


def thumbnail(image: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns the overlay, padded to the width of a thumbnail and at most as high."""
    scale = min(THUMBNAIL / image.shape[1], THUMBNAIL / image.shape[0])
    width = max(1, round(image.shape[1] * scale))
    height = max(1, round(image.shape[0] * scale))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return _pad(label_maps.overlay(image, labels, palette), right=THUMBNAIL - width)


def _pad(picture: np.ndarray, bottom: int = 0, right: int = 0) -> np.ndarray:
    return cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_CONSTANT,
                              value=label_maps.BACKGROUND)
