"""Pictures of label maps: color masks, overlays, error maps, panels with titles, and legends.

Pictures are (H, W, 3) uint8 RGB arrays, label maps (H, W) uint8 ids, palettes (256, 3) uint8 RGB.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from utils import IGNORE_LABEL
from utils.visualization import text

BACKGROUND, INK, FAINT = (24, 26, 30), (236, 238, 242), (150, 154, 162)
RIGHT, WRONG = (46, 160, 84), (230, 46, 60)
# pixels of the shorter side of a picture on which a color wheel is drawn
LEAST_FOR_WHEEL = 16
# width in pixels of a picture with text at scale 1
REFERENCE_WIDTH = 640
# largest number of classes in the legend of a video
MAX_STEADY_CLASSES = 32
# the longest note of a class in a legend
WIDEST_NOTE = "100.0%"


def color_mask(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns each pixel in its class's color."""
    return palette[labels]


def contours(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Returns (H, W) bool: pixels whose right or lower neighbor has another id.

    Args:
        thickness: of the lines in pixels.
    """
    edges = np.zeros(labels.shape, np.uint8)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    if thickness > 1:
        edges = cv2.dilate(edges, np.ones((thickness, thickness), np.uint8))
    return edges.astype(bool)


def overlay(image: np.ndarray, labels: np.ndarray, palette: np.ndarray,
            alpha: float = 0.55) -> np.ndarray:
    """Returns the image blended with the classes' colors, with thin light lines between classes.

    Args:
        alpha: weight of the colors, in [0, 1]. Ignored pixels show the image alone.
    """
    picture = cv2.addWeighted(palette[labels], alpha, image, 1 - alpha, 0)
    ignored = labels == IGNORE_LABEL
    picture[ignored] = image[ignored]
    edges = contours(labels, max(1, round(labels.shape[1] / 1500)))
    picture[edges] = (picture[edges] * 0.45 + 255 * 0.55).astype(np.uint8)
    return picture


def error_map(image: np.ndarray, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the image in gray, with right pixels green, wrong ones red and ignored ones dark."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    right = _tint(gray, RIGHT, 0.35)
    wrong = _tint(gray, WRONG, 0.8)
    picture = np.where((predictions == labels)[..., None], right, wrong)
    return np.where((labels == IGNORE_LABEL)[..., None], gray // 3, picture)


def _tint(picture: np.ndarray, color: Sequence[int], weight: float) -> np.ndarray:
    return cv2.addWeighted(np.full_like(picture, color), weight, picture, 1 - weight, 0)


def flow_colors(flow: np.ndarray, max_length: float) -> np.ndarray:
    """Colors a flow field: hue for the direction of a vector, saturation for its length.

    This is the color coding of optical flow; zero flow is white. Source: Baker et al., "A Database
    and Evaluation Methodology for Optical Flow", IJCV 2011.

    Args:
        flow: (2, H, W), x to the right, then y downwards.
        max_length: length of full saturation, above 0; longer vectors are clipped.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    degrees = np.degrees(np.arctan2(flow[1], flow[0])) % 360
    saturation = np.clip(np.hypot(flow[0], flow[1]) / max_length, 0, 1)
    hsv = np.stack([degrees, saturation, np.ones_like(degrees)], axis=-1).astype(np.float32)
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)


def color_wheel(side: int) -> np.ndarray:
    """Returns the (side, side, 3) legend of `flow_colors`.

    The color of a point is that of the vector from the center to it.
    """
    xs = np.linspace(-1, 1, side)
    return flow_colors(np.stack(np.meshgrid(xs, xs)), 1.0)


def with_wheel(picture: np.ndarray) -> np.ndarray:
    """Returns the picture of a flow field with the color wheel in its lower right corner.

    There is no wheel on a picture with a side below `LEAST_FOR_WHEEL`.
    """
    if min(picture.shape[:2]) < LEAST_FOR_WHEEL:
        return picture
    # an odd side, so that one pixel is the center
    side = max(9, round(0.3 * min(picture.shape[:2])) | 1)
    margin = side // 8
    ys, xs = np.mgrid[-1:1:side * 1j, -1:1:side * 1j]
    radius = np.hypot(ys, xs)
    # a disc with a dark rim
    wheel = np.where((radius <= 0.94)[..., None], color_wheel(side), np.array(BACKGROUND, np.uint8))
    result = picture.copy()
    corner = result[-side - margin:-margin, -side - margin:-margin]
    np.copyto(corner, wheel, where=(radius <= 1)[..., None])
    return result


def widen(picture: np.ndarray, width: int) -> np.ndarray:
    """Returns a narrower picture between two margins that make it `width` wide."""
    missing = width - picture.shape[1]
    if missing <= 0:
        return picture
    left = missing // 2
    return cv2.copyMakeBorder(picture, 0, 0, left, missing - left, cv2.BORDER_CONSTANT,
                              value=BACKGROUND)


def panels(titled: Sequence[tuple[str, np.ndarray]], columns: int | None = None) -> np.ndarray:
    """Returns pictures of one size in a grid, row by row, each under its title.

    Args:
        titled: (title, picture) pairs.
        columns: pictures in a row; all of them when None.
    """
    columns = columns or len(titled)
    height, width = titled[0][1].shape[:2]
    scale = _text_scale(width)
    gap, bar = round(8 * scale), round(28 * scale)
    rows = math.ceil(len(titled) / columns)
    canvas = _blank(rows * (bar + height) + (rows + 1) * gap, columns * width + (columns + 1) * gap)
    for i, (title, picture) in enumerate(titled):
        row, column = divmod(i, columns)
        top, left = gap + row * (bar + height + gap), gap + column * (width + gap)
        # a long title is clipped where the next picture begins
        _write_text(canvas[:, :left + width], title, left, top, bar, scale)
        canvas[top + bar:top + bar + height, left:left + width] = picture
    return canvas


def shrink(picture: np.ndarray, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Resizes a picture (H, W) or (H, W, 3) to a width of at most `REFERENCE_WIDTH`."""
    height, width = picture.shape[:2]
    if width <= REFERENCE_WIDTH:
        return picture
    size = REFERENCE_WIDTH, max(1, round(height * REFERENCE_WIDTH / width))
    return cv2.resize(picture, size, interpolation=interpolation)


def sheet(images: Iterable[np.ndarray], labels: Iterable[np.ndarray], names: Sequence[str],
          palette: np.ndarray) -> np.ndarray:
    """Returns each image beside its overlay, two pairs in a row, as `panels`.

    Images are shown at most 640 pixels wide.
    """
    titled = []
    for image, label, name in zip(images, labels, names, strict=True):
        small = shrink(np.ascontiguousarray(image))
        small_label = shrink(label, cv2.INTER_NEAREST_EXACT)
        ignored = f"{np.mean(label == IGNORE_LABEL):.0%} ignored"
        titled += [(name, small), (ignored, overlay(small, small_label, palette))]
    return panels(titled, columns=min(4, len(titled)))


def legend(entries: Sequence[tuple[str, Sequence[int]]], width: int,
           notes: Sequence[str] | None = None) -> np.ndarray:
    """Returns a strip with the color and the name of each class, in as many rows as needed.

    Args:
        entries: (name, RGB) pairs, row by row.
        width: of the strip in pixels.
        notes: faint text after each name, such as its percentage of the picture.
    """
    scale = _text_scale(width)
    line, swatch, pad = round(26 * scale), round(14 * scale), round(8 * scale)
    notes = notes or [""] * len(entries)
    cell = swatch + 4 * pad + _entry_width([name for name, _ in entries], notes, scale)
    columns = max(1, (width - pad) // (cell if entries else width))
    cell = (width - pad) // columns
    rows = math.ceil(len(entries) / columns)
    strip = _blank(rows * line + 2 * pad, width)
    for i, ((name, rgb), note) in enumerate(zip(entries, notes, strict=True)):
        row, column = divmod(i, columns)
        left, top = pad + column * cell, pad + row * line
        upper = top + (line - swatch) // 2
        corners = (left, upper), (left + swatch, upper + swatch)
        cv2.rectangle(strip, *corners, [int(value) for value in rgb], cv2.FILLED)
        cv2.rectangle(strip, *corners, FAINT, 1)
        end = _write_text(strip, name, left + swatch + pad, top, line, scale)
        _write_text(strip, note, end + pad, top, line, scale, FAINT)
    return strip


def _entry_width(names: Sequence[str], notes: Sequence[str], scale: float) -> int:
    """Returns the width of the widest name with its note.

    A note takes at least the width of `WIDEST_NOTE`, so that all frames of a video are laid out
    alike.
    """
    least = text.width(WIDEST_NOTE, scale) if any(notes) else 0
    widths = [text.width(name, scale) + max(least, text.width(note, scale))
              for name, note in zip(names, notes, strict=True)]
    return max(widths, default=0)


def with_legend(picture: np.ndarray, labels: np.ndarray, palette: np.ndarray,
                names: Sequence[str], *, steady: bool = False) -> np.ndarray:
    """Returns the picture above a legend of the classes in its label map, most frequent first.

    Args:
        steady: for the frames of a video: the legend has the same height for all label maps, and
            with at most `MAX_STEADY_CLASSES` classes all of them are listed, in fixed positions.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:len(names)]
    if steady and len(names) <= MAX_STEADY_CLASSES:
        listed = list(range(len(names)))
    else:
        order = np.argsort(-counts, kind="stable")
        listed = [int(class_id) for class_id in order if counts[class_id]]
        listed = listed[:MAX_STEADY_CLASSES] if steady else listed
    notes = [_percent(counts[class_id] / labels.size) if counts[class_id] else ""
             for class_id in listed]
    entries = [(names[class_id], palette[class_id]) for class_id in listed]
    width = picture.shape[1]
    strip = legend(entries, width, notes)
    if steady:
        height = _steady_height(names, width)
        strip = np.concatenate([strip, _blank(height, width)])[:height]
    return np.concatenate([picture, strip])


def _steady_height(names: Sequence[str], width: int) -> int:
    """Returns the height of a legend with as many and as long entries as there can be."""
    longest = sorted(names, key=len)[-MAX_STEADY_CLASSES:]
    entries = [(name, FAINT) for name in longest]
    return len(legend(entries, width, [WIDEST_NOTE] * len(longest)))


def write(path: Path, picture: np.ndarray) -> None:
    """Writes a picture or a label map as an image file of the path's suffix; makes the folder.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(path.suffix, picture)
    # unlike cv2.imwrite, this raises an error with the reason
    path.write_bytes(data.tobytes())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%" if fraction >= 0.001 else "<0.1%"


def _text_scale(width: int) -> float:
    return min(2.0, max(0.8, width / REFERENCE_WIDTH))


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _write_text(canvas: np.ndarray, line_of_text: str, left: int, top: int, line: int, scale: float,
                color: Sequence[int] = INK) -> int:
    """Writes one line of text, centered on the line's height; returns the x where it ends."""
    baseline = top + line // 2 + round(6 * scale)
    text.draw(canvas, line_of_text, left, baseline, scale, color)
    return left + text.width(line_of_text, scale)
