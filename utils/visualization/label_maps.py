"""Pictures of label maps: color masks, overlays on the image, error maps, panels with titles and legends.

Pictures are (H, W, 3) uint8 RGB arrays, label maps (H, W) uint8 ids, palettes (256, 3) uint8 RGB.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

IGNORED = 255
BACKGROUND, INK, FAINT = (24, 26, 30), (236, 238, 242), (150, 154, 162)
RIGHT, WRONG = (46, 160, 84), (230, 46, 60)
REFERENCE_WIDTH = 640                                       # of a picture whose text is drawn at scale 1
STEADY_CLASSES = 32                                         # at most in the legend of a video
WIDEST_NOTE = "100.0%"
SUBFOLDERS = ("colour_masks", "overlays", "label_ids", "panels")              # of `dump`
SMALLEST_WIDTH = 384                                        # of an overlay: smaller images are enlarged to be looked at


def color_mask(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns each pixel in its class's color."""
    return palette[labels]


def contours(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Returns (H, W) bool: where the right or lower neighbor has another id, widened to `thickness`."""
    edges = np.zeros(labels.shape, np.uint8)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    if thickness > 1:
        edges = cv2.dilate(edges, np.ones((thickness, thickness), np.uint8))
    return edges.astype(bool)


def overlay(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Returns the image tinted with its classes' colors, with thin light lines between the classes.

    Args:
        alpha: weight of the colors, [0, 1]. Ignored pixels keep the image's.
    """
    picture = cv2.addWeighted(palette[labels], alpha, image, 1 - alpha, 0)
    picture[labels == IGNORED] = image[labels == IGNORED]
    edges = contours(labels, max(1, round(labels.shape[1] / 1500)))
    picture[edges] = (picture[edges] * 0.45 + 255 * 0.55).astype(np.uint8)
    return picture


def error_map(image: np.ndarray, predictions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the image in gray, green where the prediction is right and red where it is wrong; ignored pixels dark."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    right, wrong = (cv2.addWeighted(np.full_like(gray, color), weight, gray, 1 - weight, 0)
                    for color, weight in ((RIGHT, 0.35), (WRONG, 0.8)))
    picture = np.where((predictions == truth)[..., None], right, wrong)
    return np.where((truth == IGNORED)[..., None], gray // 3, picture)


def flow_colors(flow: np.ndarray, reach: float) -> np.ndarray:
    """Returns (H, W, 3): the hue tells where a vector points, the strength of the color how far; white is no motion.

    The coding of optical flow: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.

    Args:
        flow: (2, H, W), x to the right, then y downwards.
        reach: length at which the color is full, above 0.
    """
    degrees = np.degrees(np.arctan2(flow[1], flow[0])) % 360
    strength = np.clip(np.hypot(flow[0], flow[1]) / reach, 0, 1)
    hsv = np.stack([degrees, strength, np.ones_like(degrees)], axis=-1).astype(np.float32)
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)


def color_wheel(side: int) -> np.ndarray:
    """Returns the (side, side, 3) legend of `flow_colors`: each point's color is that of the vector to it."""
    xs = np.linspace(-1, 1, side)
    return flow_colors(np.stack(np.meshgrid(xs, xs)), 1.0)


def with_wheel(picture: np.ndarray) -> np.ndarray:
    """Returns a picture of a flow field with the color wheel in its lower right corner."""
    side = max(9, round(0.3 * min(picture.shape[:2])) | 1)
    ys, xs = np.mgrid[-1:1:side * 1j, -1:1:side * 1j]
    radius, margin = np.hypot(ys, xs), side // 8
    wheel = np.where((radius <= 0.94)[..., None], color_wheel(side), np.array(BACKGROUND, np.uint8))
    shown = picture.copy()
    corner = shown[-side - margin:-margin, -side - margin:-margin]
    np.copyto(corner, wheel, where=(radius <= 1)[..., None])
    return shown


def panels(titled: Sequence[tuple[str, np.ndarray]], columns: int | None = None) -> np.ndarray:
    """Returns pictures of one size in a grid, row by row, each under its title.

    Args:
        titled: (title, picture) pairs.
        columns: pictures in a row; all of them when None.
    """
    columns = columns or len(titled)
    height, width = titled[0][1].shape[:2]
    scale = _scale(width)
    gap, bar = round(8 * scale), round(28 * scale)
    rows = -(-len(titled) // columns)
    canvas = _blank(rows * (bar + height) + (rows + 1) * gap, columns * width + (columns + 1) * gap)
    for i, (title, picture) in enumerate(titled):
        row, column = divmod(i, columns)
        top, left = gap + row * (bar + height + gap), gap + column * (width + gap)
        _write_text(canvas[:, :left + width], title, left, top, bar, scale)        # cut where the next one begins
        canvas[top + bar:top + bar + height, left:left + width] = picture
    return canvas


def sheet(images: Iterable[np.ndarray], labels: Iterable[np.ndarray], names: Sequence[str],
          palette: np.ndarray) -> np.ndarray:
    """Returns each image beside its overlay, two pairs in a row, as `panels`; none is shown wider than 640 pixels."""
    titled = []
    for image, label, name in zip(images, labels, names, strict=True):
        height, width = label.shape
        size = (min(width, REFERENCE_WIDTH), max(1, round(height * min(1, REFERENCE_WIDTH / width))))
        small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        classes = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
        titled += [(name, small), (f"{np.mean(label == IGNORED):.0%} ignored", overlay(small, classes, palette))]
    return panels(titled, columns=min(4, len(titled)))


def legend(entries: Sequence[tuple[str, Sequence[int]]], width: int, notes: Sequence[str] | None = None) -> np.ndarray:
    """Returns a strip of the given width: a swatch of color and the name of each class, in as many rows as it takes.

    Args:
        entries: (name, RGB) pairs, row by row.
        notes: a faint remark after each name, such as its share of the picture.
    """
    scale = _scale(width)
    line, swatch, pad = round(26 * scale), round(14 * scale), round(8 * scale)
    notes = notes or [""] * len(entries)
    remark = _text_width(WIDEST_NOTE, scale) if any(notes) else 0               # the same for each frame of a video
    cell = max((swatch + 4 * pad + _text_width(name, scale) + max(remark, _text_width(note, scale))
                for (name, _), note in zip(entries, notes, strict=True)), default=width)
    columns = max(1, (width - pad) // cell)
    cell = (width - pad) // columns
    strip = _blank(-(-len(entries) // columns) * line + 2 * pad, width)
    for i, ((name, rgb), note) in enumerate(zip(entries, notes, strict=True)):
        row, column = divmod(i, columns)
        left, top = pad + column * cell, pad + row * line
        upper = top + (line - swatch) // 2
        cv2.rectangle(strip, (left, upper), (left + swatch, upper + swatch), [int(value) for value in rgb], cv2.FILLED)
        cv2.rectangle(strip, (left, upper), (left + swatch, upper + swatch), FAINT, 1)
        end = _write_text(strip, name, left + swatch + pad, top, line, scale)
        _write_text(strip, note, end + pad, top, line, scale, FAINT)
    return strip


def with_legend(picture: np.ndarray, labels: np.ndarray, palette: np.ndarray, names: Sequence[str], *,
                steady: bool = False) -> np.ndarray:
    """Returns the picture above a legend of the classes that its label map holds, largest first.

    Args:
        steady: for the frames of a video: the legend has the same height, whatever the labels are, and where there are
            at most `STEADY_CLASSES` classes all stand at their own places.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:len(names)]
    if steady and len(names) <= STEADY_CLASSES:
        shown = list(range(len(names)))
    else:
        shown = [int(class_id) for class_id in np.argsort(-counts, kind="stable") if counts[class_id]]
        shown = shown[:STEADY_CLASSES] if steady else shown
    notes = [_percent(counts[class_id] / labels.size) if counts[class_id] else "" for class_id in shown]
    entries = [(names[class_id], palette[class_id]) for class_id in shown]
    strip = legend(entries, picture.shape[1], notes)
    if steady:
        longest = sorted(names, key=len)[-STEADY_CLASSES:]
        height = len(legend([(name, FAINT) for name in longest], picture.shape[1], [WIDEST_NOTE] * len(longest)))
        strip = np.concatenate([strip, _blank(height, picture.shape[1])])[:height]
    return np.concatenate([picture, strip])


def write(path: Path, picture: np.ndarray) -> None:
    """Writes a picture, or a label map as it is, as an image file of the path's suffix; makes the folder.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(path.suffix, picture)
    path.write_bytes(data.tobytes())                        # unlike imwrite, this says why when it fails


class Theme:
    """What was seen in an image, made to be looked at: small images are enlarged.

    Args:
        image: (H, W, 3).
        labels: (H, W) train ids.
        steady: whether it is a frame of a video: see `with_legend`.
    """

    def __init__(self, image: np.ndarray, labels: np.ndarray, palette: np.ndarray, names: Sequence[str], *,
                 steady: bool = False) -> None:
        self.image, self.labels = _enlarge(image, cv2.INTER_CUBIC), _enlarge(labels, cv2.INTER_NEAREST)
        self.palette, self.names, self.steady = palette, names, steady
        self.seen = overlay(self.image, self.labels, palette)

    def overlay(self) -> np.ndarray:
        """Returns the overlay above its legend."""
        return with_legend(self.seen, self.labels, self.palette, self.names, steady=self.steady)

    def side_by_side(self) -> np.ndarray:
        """Returns image and overlay beside each other, above the legend."""
        pair = panels([("Image", self.image), ("Classes", self.seen)])
        return with_legend(pair, self.labels, self.palette, self.names, steady=self.steady)

    def against(self, truth: np.ndarray) -> np.ndarray:
        """Returns image, truth, prediction and errors in a square, none wider than 640 pixels."""
        truth = _enlarge(truth, cv2.INTER_NEAREST)
        titled = [("Image", self.image), ("Truth", overlay(self.image, truth, self.palette)),
                  ("Prediction", self.seen),
                  ("Errors in red, not counted in dark", error_map(self.image, self.labels, truth))]
        return panels([(title, _shrink(one)) for title, one in titled], columns=2)


def dump(folder: Path, name: str, image: np.ndarray, labels: np.ndarray, palette: np.ndarray, names: Sequence[str],
         raw_ids: np.ndarray, truth: np.ndarray | None = None) -> None:
    """Writes what was seen in an image under the subfolders of the folder.

    `colour_masks/NAME.png`; `overlays/NAME.png` with a legend; `label_ids/NAME.png`, in the ids of the dataset's own
    label files; and where there is a truth `panels/NAME.png`: image, truth, prediction and errors, side by side.
    Overlays and panels of small images are enlarged, masks and label ids never.

    Args:
        raw_ids: (256,) uint8, train id -> the dataset's id.

    Raises:
        OSError: a file cannot be written.
    """
    look = Theme(image, labels, palette, names)
    pictures = [color_mask(labels, palette), look.overlay(), raw_ids[labels]]
    pictures += [look.against(truth)] if truth is not None else []
    for subfolder, picture in zip(SUBFOLDERS, pictures, strict=False):
        write(folder / subfolder / f"{name}.png", picture)


def _enlarge(picture: np.ndarray, interpolation: int, width: int = SMALLEST_WIDTH) -> np.ndarray:
    """Enlarges by the least whole factor that brings a picture to a width."""
    factor = -(-width // picture.shape[1])
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=interpolation) if factor > 1 else picture


def _shrink(picture: np.ndarray, width: int = REFERENCE_WIDTH) -> np.ndarray:
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share >= 0.001 else "<0.1%"


def _scale(width: int) -> float:
    return min(2.0, max(0.8, width / REFERENCE_WIDTH))


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, 1)[0][0] if text else 0


def _write_text(canvas: np.ndarray, text: str, left: int, top: int, line: int, scale: float,
                color: Sequence[int] = INK) -> int:
    """Writes one line of text, centered on the line's height; returns where it ends."""
    baseline = top + line // 2 + round(6 * scale)
    cv2.putText(canvas, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, color, 1, cv2.LINE_AA)
    return left + _text_width(text, scale)
