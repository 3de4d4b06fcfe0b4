"""Class centroids: a point of each class in each tile of each label of a dataset."""
from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.class_uniform.centroid_cache import CentroidCache
from datasets.loader import load_items
from datasets.reader import SegmentationDataset
from datasets.spec import BadSample
from utils import distributed
from utils.logs import track

CHUNK_ROWS = 64             # rows counted at a time; their keys fit into the cache of a core
# Squared distances, in pixels, that differ by less are equal, so that rounding decides nothing.
TOLERANCE = 1e-6
FIRST_RADIUS = 8            # pixels around a center of mass that are searched first

log = logging.getLogger(__name__)


def find_centroids(data: SegmentationDataset, tile: int, num_workers: int, cache_dir: Path,
                   skip_bad: bool = False) -> np.ndarray:
    """Returns the class centroids of all labels, from the cache or by reading the labels once.

    The processes divide the labels among them. The main process reads and writes the cache while
    the others wait.

    Args:
        tile: side of a tile in pixels.
        num_workers: number of worker processes of each rank; 0 reads in the rank's own process.
        skip_bad: a label that cannot be read has no centroids; it is logged, and the cache is not
            written. Otherwise it is an error.

    Returns:
        (n, 4) int32, rows of (image, train id, x, y) sorted by image; the same on every process.

    Raises:
        DatasetError: a label is damaged, or holds an id that the spec does not name.
        OSError: a label file is missing.
    """
    cache = CentroidCache.of(data, tile, cache_dir) if distributed.is_main() else None
    cached: np.ndarray | None = distributed.from_main(cache.read() if cache else None)
    if cached is not None:
        return cached
    shards = distributed.gather(_read_shard(data, tile, num_workers, skip_bad))
    parts = [part for shard_parts in shards for part in shard_parts]
    rows = np.concatenate([np.empty((0, 4), np.int32), *parts])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if cache and len(parts) == len(data):
        cache.write(rows)
    distributed.barrier()
    return rows


def points_by_class(centroids: np.ndarray) -> dict[int, np.ndarray]:
    """Returns train id -> rows (n, 3) of (image, x, y), in the order of the train ids.

    Args:
        centroids: (n, 4) rows of (image, train id, x, y); those of a class keep their order.
    """
    return {int(train_id): centroids[centroids[:, 1] == train_id][:, (0, 2, 3)]
            for train_id in np.unique(centroids[:, 1])}


def _read_shard(data: SegmentationDataset, tile: int, num_workers: int,
                skip_bad: bool) -> list[np.ndarray]:
    """Returns rows (n, 4) of (image, train id, x, y) for each readable label of this process."""
    indices = distributed.shard(len(data))
    items = load_items(_LabelCentroids(data, tile, skip_bad), num_workers, indices)
    progress = track(items, len(indices), f"class centroids of {data.split}",
                     quiet=not distributed.is_main())
    parts = []
    for image, centroids in zip(indices, progress, strict=True):
        if isinstance(centroids, str):
            log.error("skipped, no crop is drawn around its classes: %s", centroids)
        else:
            parts.append(np.insert(centroids, 0, image, axis=1))
    return parts


def class_centroids(label: np.ndarray, tile: int, num_classes: int) -> np.ndarray:
    """Finds the centroid of each class in each tile of a label map.

    The centroid is the pixel of the class that is nearest to the class's center of mass in the
    tile; of equally near pixels, the first in reading order. Tiles start at the top left corner
    and cover the whole map, so those at the right and at the bottom may be smaller.

    Args:
        label: (H, W) uint8 train ids; ids of `num_classes` and above are skipped.
        tile: side of a tile in pixels.

    Returns:
        (n, 3) int32, rows of (train id, x, y), by tile in reading order and then by class.
    """
    rows = []
    for top in range(0, label.shape[0], tile):
        centroids = _tile_row_centroids(label[top : top + tile], tile, num_classes)
        rows.append(centroids + np.array([0, 0, top], np.int32))
    return np.concatenate(rows)


def _tile_row_centroids(label: np.ndarray, tile: int, num_classes: int) -> np.ndarray:
    """Returns the centroids (train id, x, y) of one row of tiles.

    Pixels are counted by (class, x) and by (y, tile, class). For the pixels of a class in a tile,
    the center of mass is (sum of x * count(x) / pixels, sum of y * count(y) / pixels).
    """
    height, width = label.shape
    starts = np.arange(0, width, tile)
    by_column, by_row = _count_pixels(label, tile, num_classes)
    # (tiles, classes) each; the last class is that of skipped pixels
    pixels = np.add.reduceat(by_column, starts, axis=1).T[:, :-1]
    sum_x = np.add.reduceat(by_column * np.arange(width), starts, axis=1).T[:, :-1]
    sum_y = (np.arange(height) @ by_row).reshape(len(starts), num_classes + 1)[:, :-1]

    tiles, train_ids = np.nonzero(pixels)
    centers = np.stack([sum_x[tiles, train_ids], sum_y[tiles, train_ids]], axis=1)
    centers = centers / pixels[tiles, train_ids][:, None]
    # the nearest pixel; of two, the first
    points = np.ceil(centers - 0.5).astype(np.int32)
    # a center of mass may lie outside its class
    for i in np.flatnonzero(label[points[:, 1], points[:, 0]] != train_ids):
        left = starts[tiles[i]]
        inside = label[:, left : left + tile] == train_ids[i]
        x, y = centers[i]
        points[i] = _nearest(inside, x - left, y) + [left, 0]
    return np.column_stack([train_ids, points]).astype(np.int32)


def _count_pixels(label: np.ndarray, tile: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pixels of one row of tiles; class `num_classes` is that of skipped pixels.

    Returns:
        (classes, W) int64, by class and x; (H, tiles * classes) int64, by y, tile and class.
    """
    height, width = label.shape
    classes = num_classes + 1
    row_size = -(-width // tile) * classes
    by_column = np.zeros(classes * width, np.int64)
    by_row = np.empty((height, row_size), np.int64)
    tile_offsets = np.arange(width) // tile * classes
    buffer = np.empty((min(CHUNK_ROWS, height), width), np.intp)
    for top in range(0, height, CHUNK_ROWS):
        chunk = np.minimum(label[top : top + CHUNK_ROWS], num_classes)
        keys = buffer[: len(chunk)]
        # class * W + x
        np.multiply(chunk, width, out=keys, dtype=np.intp)
        keys += np.arange(width)
        by_column += np.bincount(keys.ravel(), minlength=by_column.size)
        # y * row_size + tile * classes + class
        np.add(chunk, tile_offsets, out=keys, dtype=np.intp)
        keys += np.arange(len(chunk))[:, None] * row_size
        counts = np.bincount(keys.ravel(), minlength=len(chunk) * row_size)
        by_row[top : top + CHUNK_ROWS] = counts.reshape(len(chunk), row_size)
    return by_column.reshape(classes, width), by_row


def _nearest(inside: np.ndarray, x: float, y: float) -> np.ndarray:
    """Returns the (x, y) of the pixel of a mask (H, W) that is nearest to a point.

    Searches a window around the point, which grows until no pixel outside it can be nearer.
    """
    radius = FIRST_RADIUS
    while True:
        top, left = max(0, int(y) - radius), max(0, int(x) - radius)
        window = inside[top : int(y) + radius + 1, left : int(x) + radius + 1]
        rows, columns = np.nonzero(window)
        squares = (rows + top - y) ** 2 + (columns + left - x) ** 2
        if len(rows) and (squares.min() <= radius ** 2 or window.shape == inside.shape):
            best = np.argmax(squares < squares.min() + TOLERANCE)
            return np.array([columns[best] + left, rows[best] + top])
        radius *= 2


class _LabelCentroids(Dataset["np.ndarray | str"]):
    """The centroids (n, 3) of each label, or the error message of an unreadable one."""

    def __init__(self, data: SegmentationDataset, tile: int, skip_bad: bool) -> None:
        self.data = data
        self.tile = tile
        self.skip_bad = skip_bad

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
