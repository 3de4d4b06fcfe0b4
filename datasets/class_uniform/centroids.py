"""Where the classes lie: a point of each class in each tile of a label map, for all the labels of a dataset."""
from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.class_uniform.centroid_cache import CentroidCache
from datasets.loader import label_loader
from datasets.reader import SegmentationDataset
from datasets.spec import BadSample
from utils import distributed
from utils.evaluation.evaluator import shard
from utils.logs import track

BAND = 64                                                   # rows at a time: their keys stay in a core's cache
EQUAL = 1e-6                                                # square pixels: rounding must not choose among equals

log = logging.getLogger(__name__)


def find_centroids(data: SegmentationDataset, tile: int, num_workers: int, cache_dir: Path,
                   skip_bad: bool = False) -> np.ndarray:
    """Returns the class centroids of all the labels, from the cache or by one pass over the labels.

    The processes share the pass; the main one reads and writes the cache while the others wait.

    Args:
        tile: side of a tile in pixels.
        num_workers: processes that read labels, for each process here; 0 reads in that process itself.
        skip_bad: a label that cannot be read has no centroids; it is logged, and nothing is kept. Otherwise it is an
            error.

    Returns:
        (n, 4) int32, rows of (image, train id, x, y) in the order of the images; the same on every process.

    Raises:
        DatasetError: a label is damaged, or holds an id that the table does not name.
        OSError: a label is not there.
    """
    cache = CentroidCache.of(data, tile, cache_dir) if distributed.is_main() else None
    rows: np.ndarray | None = distributed.from_main(cache.read() if cache else None)
    if rows is not None:
        return rows
    mine = shard(len(data))
    loader = label_loader(_LabelCentroids(data, tile, skip_bad), num_workers, mine)
    found = []
    for image, centroids in zip(mine, track(loader, len(mine), f"class centroids of {data.split}", quiet=cache is None),
                                strict=True):
        if isinstance(centroids, str):
            log.error("skipped, no crop is drawn around its classes: %s", centroids)
        else:
            found.append(np.insert(centroids, 0, image, axis=1))
    parts = [part for parts in distributed.gather(found) for part in parts]
    rows = np.concatenate([np.empty((0, 4), np.int32), *parts])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if cache and len(parts) == len(data):
        cache.write(rows)
    distributed.barrier()
    return rows


def class_centroids(label: np.ndarray, tile: int, num_classes: int) -> np.ndarray:
    """Finds, for each tile and each class in it, the pixel of the class nearest to the class's center of mass there.

    Tiles start at the top left corner; those at the right and at the bottom may be smaller, so that together they cover
    the whole map. Of pixels that are equally near, the first one in reading order is taken.

    Args:
        label: (H, W) uint8 train ids; ids from `num_classes` on are left out.
        tile: side in pixels.

    Returns:
        (n, 3) int32, rows of (train id, x, y), by tile in reading order and then by class.
    """
    return np.concatenate([_stripe(label[top : top + tile], tile, num_classes) + np.array([0, 0, top], np.int32)
                           for top in range(0, label.shape[0], tile)])


def _stripe(label: np.ndarray, tile: int, num_classes: int) -> np.ndarray:
    """The centroids of one row of tiles. Counts of pixels by (class, x) and by (y, tile, class) give all the sums."""
    height, width = label.shape
    starts, classes = np.arange(0, width, tile), num_classes + 1            # the last class takes what is left out
    by_column = np.zeros(classes * width, np.int64)
    by_row = np.empty((height, len(starts) * classes), np.int64)
    tile_of_x = np.arange(width) // tile * classes
    keys = np.empty((min(BAND, height), width), np.intp)
    for top in range(0, height, BAND):
        band = np.minimum(label[top : top + BAND], num_classes)
        key = keys[: len(band)]
        np.multiply(band, width, out=key, dtype=np.intp)
        key += np.arange(width)
        by_column += np.bincount(key.ravel(), minlength=by_column.size)
        np.add(band, tile_of_x, out=key, dtype=np.intp)
        key += np.arange(len(band))[:, None] * by_row.shape[1]
        by_row[top : top + BAND] = np.bincount(key.ravel(), minlength=band.shape[0] * by_row.shape[1]).reshape(
            len(band), -1)

    columns = by_column.reshape(classes, width)
    pixels = np.add.reduceat(columns, starts, axis=1).T[:, :-1]             # (tiles, classes)
    sum_x = np.add.reduceat(columns * np.arange(width), starts, axis=1).T[:, :-1]
    sum_y = (np.arange(height) @ by_row).reshape(len(starts), classes)[:, :-1]
    tiles, train_ids = np.nonzero(pixels)
    centers = np.stack([sums[tiles, train_ids] / pixels[tiles, train_ids] for sums in (sum_x, sum_y)], axis=1)
    points = np.ceil(centers - 0.5).astype(np.int32)                        # the nearest pixel; of two, the first
    for i in np.flatnonzero(label[points[:, 1], points[:, 0]] != train_ids):
        left = starts[tiles[i]]
        points[i] = _nearest(label[:, left : left + tile] == train_ids[i], *(centers[i] - [left, 0])) + [left, 0]
    return np.column_stack([train_ids, points]).astype(np.int32)


def _nearest(inside: np.ndarray, x: float, y: float) -> np.ndarray:
    """The (x, y) of the pixel nearest to a point, sought in windows that grow until none outside can be nearer."""
    reach = 8
    while True:
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        window = inside[top : int(y) + reach + 1, left : int(x) + reach + 1]
        rows, columns = np.nonzero(window)
        squares = (rows + top - y) ** 2 + (columns + left - x) ** 2
        if len(rows) and (squares.min() <= reach ** 2 or window.shape == inside.shape):
            best = np.argmax(squares < squares.min() + EQUAL)
            return np.array([columns[best] + left, rows[best] + top])
        reach *= 2


class _LabelCentroids(Dataset["np.ndarray | str"]):
    """The centroids (n, 3) of each label, or what is wrong with the label, for a loader's workers."""

    def __init__(self, data: SegmentationDataset, tile: int, skip_bad: bool) -> None:
        self.data, self.tile, self.skip_bad = data, tile, skip_bad

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> np.ndarray | str:
        try:
            label = self.data.label(index)
        except BadSample as error:
            if not self.skip_bad:
                raise
            return str(error)
        return class_centroids(label, self.tile, self.data.spec.num_classes)
