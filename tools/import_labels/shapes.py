"""What annotation files hold: images with named shapes, and which pixels a shape covers.

Coordinates are those of the annotation tools: (x, y) in pixels from the upper left corner of the
image, so that pixel (row i, column j) spans j to j + 1 and i to i + 1. A ring covers the pixels
whose center (j + 0.5, i + 0.5) lies inside by the even-odd rule. OpenCV's `fillPoly` and Pillow's
`polygon` also draw the pixels under the outline, which adds half a pixel on each side.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.spec import RGB, DatasetError

# LabelMe's name for areas that are not scored
IGNORED_NAME = "__ignore__"
# vertices of a circle or an ellipse
ROUND_VERTICES = 128


class Window(NamedTuple):
    """The pixels of a shape.

    Attributes:
        top, left: position of the mask in the image.
        mask: (h, w) bool, within the image.
    """

    top: int
    left: int
    mask: np.ndarray

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the mask in the image."""
        height, width = self.mask.shape
        return (slice(self.top, self.top + height), slice(self.left, self.left + width))


EMPTY = Window(0, 0, np.zeros((0, 0), bool))


@dataclass(frozen=True)
class Shape:
    """An area with the name of its class.

    Args:
        rings: outlines, each (N, 2) of x and y; the shape is their union.
        mask: returns the pixels, in place of rings. It may reach beyond the image. It decodes
            them at each call, so that the masks of one image at a time are in memory.
        order: shapes of a higher order lie on top; equal ones lie in the order of the file.
    """

    name: str
    rings: tuple[np.ndarray, ...] = ()
    mask: Callable[[], Window] | None = None
    order: int = 0

    def fill(self, height: int, width: int) -> tuple[Window, float]:
        """Returns the pixels within an image, perhaps none, and how far the shape reaches beyond.

        The distance is in pixels, the largest over the four sides, and 0 for a shape inside.
        """
        if self.mask is not None:
            whole = self.mask()
            rows, columns = whole.slices
            corners = np.array([(columns.start, rows.start), (columns.stop, rows.stop)])
            window = clip(whole, height, width)
        elif not self.rings:
            return EMPTY, 0.0
        else:
            corners = np.concatenate(self.rings)
            windows = [fill_ring(outline, height, width) for outline in self.rings]
            window = union([window for window in windows if window.mask.any()])
        beyond = np.concatenate([-corners.min(0), corners.max(0) - (width, height)])
        return window, max(0.0, float(beyond.max()))


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of an annotation file.

    Args:
        file: path of the image as the annotation file spells it.
        source: annotation file, for messages.
        size: (height, width) that the annotation file says; None if it does not.
        split: of the annotation file; "" if it names none.
        is_empty: the file has no shape for the image.
        load: returns the shapes.
        folders: folders in which `file`, or its name, is looked for before the others.
        name: path in the dataset, without suffix; that of `file` if empty.
    """

    file: str
    source: Path
    load: Callable[[], Sequence[Shape]]
    size: tuple[int, int] | None = None
    split: str = ""
    is_empty: bool = False
    folders: tuple[Path, ...] = ()
    name: str = ""


@dataclass
class Annotations:
    """The content of annotation files.

    Attributes:
        classes: name -> color, None if the files give none, in the order of the files.
        images: images with their shapes.
        left_out: description of entries without an area, such as "lines" -> their number.
        images_left_out: the same for images.
    """

    classes: dict[str, RGB | None] = field(default_factory=dict)
    images: list[AnnotatedImage] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    images_left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, description: str, count: int = 1) -> None:
        """Counts entries that have no area."""
        if count:
            self.left_out[description] = self.left_out.get(description, 0) + count

    def leave_out_image(self, description: str, count: int = 1) -> None:
        """Counts images that are not imported."""
        if count:
            number = self.images_left_out.get(description, 0)
            self.images_left_out[description] = number + count


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turns the errors in reading a malformed record into a DatasetError.

    Args:
        place: file and record, such as "a.json: annotation 7".
    """
    try:
        yield
    except DatasetError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{place} is malformed ({reason}): export the labels again, or correct "
                           "this entry.") from error


def ring(points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Returns points as (N, 2) float64. Raises ValueError if they are no outline."""
    outline = np.asarray(points, np.float64)
    if outline.ndim != 2 or outline.shape[1] != 2:
        raise ValueError("points are pairs of x and y")
    if not len(outline):
        raise ValueError("it has no points")
    if not np.isfinite(outline).all():
        raise ValueError("a coordinate is not a finite number")
    if np.abs(outline).max(initial=0) > 1e7:
        raise ValueError(f"a coordinate is {np.abs(outline).max():.3g} pixels")
    return outline


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Returns the outline of a rectangle."""
    return ring([(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Returns the outline of an ellipse, a polygon of the same area."""
    angles = 2 * np.pi * np.arange(ROUND_VERTICES) / ROUND_VERTICES
    step = 2 * np.pi / ROUND_VERTICES
    # area of a regular polygon in the unit circle: n / 2 sin(2 pi / n)
    scale = np.sqrt(step / np.sin(step))
    return ring(np.stack([x + scale * radius_x * np.cos(angles),
                          y + scale * radius_y * np.sin(angles)], axis=1))


def rotated(points: np.ndarray, degrees: float) -> np.ndarray:
    """Returns points turned clockwise on the screen around the center of their bounding box."""
    center = (points.min(0) + points.max(0)) / 2
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - center) @ turn + center


def fill_ring(points: np.ndarray, height: int, width: int) -> Window:
    """Returns the pixels whose center lies inside a ring, by the even-odd rule.

    An edge crosses the row of centers y = i + 0.5 at one x. Pixel j of the row is inside if an odd
    number of edges cross at or to the left of its center.
    """
    x0, y0 = points.T
    x1, y1 = np.roll(points, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    counts = end - first
    if not counts.any():
        return EMPTY
    # one entry for each pair of an edge and a row that it crosses
    edges = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    shares = (rows + 0.5 - y0[edges]) / (y1 - y0)[edges]
    crossings = x0[edges] + shares * (x1 - x0)[edges]
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    top, left = rows.min(), columns.min()
    shape = (rows.max() - top + 1, columns.max() - left + 1)
    flips = np.bincount((rows - top) * shape[1] + columns - left, minlength=shape[0] * shape[1])
    mask = np.cumsum(flips.reshape(shape), axis=1) % 2 == 1
    # the last column holds crossings only: an even number in all
    return Window(int(top), int(left), mask[:, :-1])


def union(windows: Sequence[Window]) -> Window:
    """Returns the pixels of any window."""
    if len(windows) == 1:
        return windows[0]
    if not windows:
        return EMPTY
    top, left = min(w.top for w in windows), min(w.left for w in windows)
    bottom = max(w.slices[0].stop for w in windows)
    right = max(w.slices[1].stop for w in windows)
    mask = np.zeros((bottom - top, right - left), bool)
    for window in windows:
        rows, columns = Window(window.top - top, window.left - left, window.mask).slices
        mask[rows, columns] |= window.mask
    return Window(top, left, mask)


def clip(window: Window, height: int, width: int) -> Window:
    """Returns the part of a window that lies within an image."""
    rows, columns = window.slices
    top, left = max(0, rows.start), max(0, columns.start)
    bottom, right = min(height, rows.stop), min(width, columns.stop)
    mask = window.mask[top - window.top:max(top, bottom) - window.top,
                       left - window.left:max(left, right) - window.left]
    return Window(top, left, mask)
