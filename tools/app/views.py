"""What the page of the app shows of a picture, as text that `viewer.js` reads: classes, flow
fields, a comparison.
"""
from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

import datasets
from network.alignment import recorded_flows
from utils.evaluation.predictor import Predictor
from utils.report import pictures
from utils.visualization import flow, label_maps

# of pictures and maps on the page, at most
WIDTH = 1280
# rows of what two networks see differently
PAIRS = 6
SAME = (70, 74, 80)


class Refused(ValueError):
    """A picture that is not parsed; says why."""


@dataclass(frozen=True)
class Model:
    """A network to show.

    Args:
        title: names it on the page.
    """

    title: str
    predictor: Predictor
    spec: datasets.DatasetSpec

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Parses (H, W, 3) into train ids (H, W)."""
        return (
            self.predictor.labels(torch.from_numpy(image).permute(2, 0, 1)[None])[0].cpu().numpy()
        )


def read(path: str, name: str, max_pixels: int) -> np.ndarray:
    """Reads a picture that somebody handed in as (H, W, 3), turned upright.

    Args:
        name: what it was called there.

    Raises:
        Refused: it is too large, damaged, or no picture.
    """
    try:
        # reads the size alone
        with Image.open(path) as header:
            width, height = header.size
    except (OSError, Image.DecompressionBombError):
        # the reader knows better what is wrong
        width = height = 0
    if width * height > max_pixels:
        raise Refused(
            f"{name} has {width} × {height} pixels, more than the {max_pixels:,} that are parsed "
            "here: shrink it, or start the app with a larger --max_pixels."
        )
    try:
        return datasets.read_image(Path(path), upright=True)
    except datasets.DatasetError as error:
        raise Refused(
            f"{str(error).replace(path, name)} PNG, JPEG and WebP pictures are read."
        ) from error


def decode(uri: str, max_pixels: int) -> np.ndarray:
    """Reads a camera's frame, a picture in a data URI, as (H, W, 3). Raises Refused for a damaged
    or too large one.
    """
    try:
        frame = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True)))
        # known before anything is decoded
        too_large = frame.width * frame.height > max_pixels
        pixels = None if too_large else np.array(frame.convert("RGB"))
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        raise Refused("The camera's frame is damaged.") from error
    if pixels is None:
        raise Refused(
            f"The camera gives {frame.width} × {frame.height} pixels, more than the {max_pixels:,} "
            "that are parsed here: start the app with a larger --max_pixels."
        )
    return pixels


def live(model: Model, frame: np.ndarray) -> str:
    """Parses a camera's frame, and returns the value of the live tab."""
    start = time.monotonic()
    labels = model.labels(frame)
    note = f"{frame.shape[1]} × {frame.shape[0]} pixels, parsed in {1000 * (time.monotonic() - start):,.0f} ms"
    return json.dumps({**classes(frame, labels, model.spec), "note": note, "live": True})


def parse(models: list[Model], image: np.ndarray) -> tuple[str, list[str]]:
    """Parses a picture with one network, or with two.

    Returns:
        what was done, in words, and the values of the tabs: classes and flow fields of the first,
            and with two networks
        their comparison.
    """
    start = time.monotonic()
    labels = [model.labels(image) for model in models]
    seconds = time.monotonic() - start
    height, width = image.shape[:2]
    said = f"{width} × {height} pixels, {'both ' * (len(models) == 2)}parsed in {1000 * seconds:,.0f} ms"
    found = [classes(image, labels[0], models[0].spec), flow_fields(image, models[0])]
    if len(models) == 2:
        found.append(comparison(image, labels, models))
    return said, [json.dumps(each) for each in found]


def classes(image: np.ndarray, labels: np.ndarray, spec: datasets.DatasetSpec) -> dict[str, Any]:
    """Returns the picture, its label map and the share of each class."""
    return {
        "kind": "classes", "image": _picture(image), "labels": _ids(labels),
        "classes": _table(spec, labels),
        "note": "Point at the picture or at a class to see where it is.",
    }


def flow_fields(image: np.ndarray, model: Model) -> dict[str, Any]:
    """Returns the flow fields of a network in colors; none where it has no flow alignment."""
    fields = flow.color_flows(flow.predict_flows(model.predictor, recorded_flows, image), image.shape[1])
    size = pictures.shrink(image, WIDTH).shape[1::-1]
    note = (
        "The color tells in which direction a place looks for its features and how far: see the "
        "wheel."
        if fields
        else "This network has no flow alignment, so there is no flow to show."
    )
    return {
        "kind": "flows", "image": _picture(image),
        "wheel": pictures.jpeg(label_maps.color_wheel(128), 95), "note": note,
        "fields": [
            {
                "title": field.title, "note": field.note,
                "picture": pictures.jpeg(cv2.resize(field.colors, size), 92),
            }
            for field in fields
        ],
    }


def comparison(image: np.ndarray, labels: list[np.ndarray], models: list[Model]) -> dict[str, Any]:
    """Returns the label maps of two networks, and the pairs of classes by which they differ
    most.
    """
    ours, theirs = labels
    spec = models[0].spec
    counts = np.bincount(
        ours.ravel().astype(int) * 256 + theirs.ravel(), minlength=1 << 16
    ).reshape(256, 256)
    np.fill_diagonal(counts, 0)
    largest = np.argsort(-counts.ravel(), kind="stable")[:PAIRS]
    pairs = [
        {
            "a": int(pair) // 256, "b": int(pair) % 256,
            "share": float(counts.ravel()[pair] / ours.size),
        }
        for pair in largest
        if counts.ravel()[pair]
    ]
    return {
        "kind": "comparison", "image": _picture(image), "labels": [_ids(each) for each in labels],
        "titles": [model.title for model in models], "classes": _table(spec, ours),
        "share": float(np.mean(ours != theirs)), "pairs": pairs, "same": SAME,
        "different": label_maps.WRONG,
    }


def _picture(image: np.ndarray) -> str:
    return pictures.jpeg(pictures.shrink(image, WIDTH), 88)


def _ids(labels: np.ndarray) -> str:
    return pictures.grey_png(pictures.shrink(labels, WIDTH))


def _table(spec: datasets.DatasetSpec, labels: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [{"name": name, "rgb": spec.palette[i].tolist(), "share": float(counts[i] / labels.size)}
            for i, name in enumerate(spec.names)]
