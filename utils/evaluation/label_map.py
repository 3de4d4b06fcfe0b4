"""From logits at the head's stride to the label map, without full-size logits."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from utils.resizing import for_each_chunk, lerp_rows, source_positions
from utils.threads import map_in_threads

# values in one chunk of full-size logits: about a CPU's caches; on a GPU, few kernel launches
CHUNK_VALUES = {"cpu": 1 << 20, "cuda": 1 << 25}
# above this fraction of pixels between different classes, chunks of rows are faster
MAX_MIXED = 1 / 3
# above this fraction of cells between different classes, the pixels are not counted
MOSTLY_MIXED = 1 / 2


def label_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the arg max of logits (N, K, h, w) resized to (H, W), as (N, H, W) uint8.

    Resizing is bilinear with aligned corners, in float32. On a CPU most pixels need none: a pixel's
    logits are a weighted mean of the logits at its four neighbors, so if one class is the largest
    at all four, it is the largest at the pixel. Other pixels, and all pixels on a GPU, are resized.
    """
    if logits.shape[-2:] == size:
        return _argmax(logits)
    logits = logits.float()
    if logits.device.type == "cpu":
        labels = _label_map_by_neighbors(logits, size)
        if labels is not None:
            return labels
    return _label_map_by_chunks(logits, size)


def _argmax(logits: Tensor) -> Tensor:
    """Returns the arg max over K of (N, K, ...), as (N, ...) uint8."""
    # five times as fast as argmax on a CPU
    return logits.max(dim=1).indices.to(torch.uint8)


def _label_map_by_neighbors(logits: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Resizes only pixels whose four neighbors differ in class; returns None if these are many."""
    new_height, new_width = size
    rows = source_positions(logits.shape[2], new_height, logits.device)
    columns = source_positions(logits.shape[3], new_width, logits.device)
    (top, bottom, _), (left, right, _) = rows, columns
    classes = _argmax(logits)
    # found at the coarse size, at little cost
    if _mixed_cells(classes) > MOSTLY_MIXED:
        return None
    # Columns first: there are fewer rows then, and whole rows are quick to copy.
    at_left, at_right = classes.index_select(2, left), classes.index_select(2, right)
    differs = at_left != at_right
    labels = at_left.index_select(1, top)
    is_mixed = differs.index_select(1, top) | differs.index_select(1, bottom)
    is_mixed |= labels != at_left.index_select(1, bottom)
    pixels = is_mixed.view(-1).nonzero()[:, 0]
    if len(pixels) > MAX_MIXED * is_mixed.numel():
        return None

    flat_labels = labels.view(-1)
    logits_at = _pixel_resizer(logits, rows, columns, len(pixels))

    def label_pixels(chunk: Tensor) -> None:
        flat_labels[chunk] = _argmax(logits_at(chunk))

    map_in_threads(label_pixels, pixels.split(CHUNK_VALUES["cpu"] // logits.shape[1]),
                   logits.device)
    return labels


def _pixel_resizer(logits: Tensor, rows: Sequence[Tensor], columns: Sequence[Tensor],
                   count: int) -> Callable[[Tensor], Tensor]:
    """Returns a function that resizes single pixels of logits (N, K, h, w), from (P,) to (P, K).

    Pixels are flat indices into (N, H, W).

    Args:
        rows, columns: the neighbors of the H rows and W columns, from `source_positions`.
        count: number of pixels that will be resized. If there are fewer positions (N, H, w), their
            rows are interpolated at once, and a pixel then has two neighbors in place of four.
    """
    (top, bottom, down), (left, right, across) = rows, columns
    height, width = logits.shape[-2:]
    new_height, new_width = len(top), len(left)
    # channels last, so that the logits of a position are one row: (N h w, K) or (N H w, K)
    values = logits.permute(0, 2, 3, 1)
    rows_first = count > len(logits) * new_height * width
    if rows_first:
        values = torch.lerp(values.index_select(1, top), values.index_select(1, bottom),
                            down[:, None, None])
    values = values.reshape(-1, logits.shape[1])

    def logits_at(pixels: Tensor) -> Tensor:
        image_row, column = pixels // new_width, pixels % new_width
        before, after, weight = left[column], right[column], across[column][:, None]

        def in_row(row: Tensor) -> Tensor:
            return torch.lerp(values[row * width + before], values[row * width + after], weight)

        if rows_first:
            return in_row(image_row)
        first_row, row = image_row // new_height * height, image_row % new_height
        return torch.lerp(in_row(first_row + top[row]), in_row(first_row + bottom[row]),
                          down[row][:, None])

    return logits_at


def _mixed_cells(classes: Tensor) -> float:
    """Returns which fraction of the squares of four neighbors in (N, h, w) differ in class."""
    corner = classes[:, :-1, :-1]
    differs = corner != classes[:, :-1, 1:]
    differs |= corner != classes[:, 1:, :-1]
    differs |= corner != classes[:, 1:, 1:]
    # nan, which is not above any threshold, for a single row or column
    return float(differs.float().mean())


def _label_map_by_chunks(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes every pixel, a chunk of rows at a time."""
    labels = logits.new_empty(len(logits), *size, dtype=torch.uint8)
    chunk_values = CHUNK_VALUES.get(logits.device.type, CHUNK_VALUES["cpu"])

    def label_rows(rows: slice, chunk: Tensor) -> None:
        labels[:, rows] = _argmax(chunk)

    for_each_chunk(logits, size, lerp_rows, chunk_values, label_rows)
    return labels
