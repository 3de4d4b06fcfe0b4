"""The views of a picture in the app, as JSON that `viewer.js` reads."""
from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

import datasets
from eval import LoadedModel
from network.alignment import recorded_flows
from utils.report import pictures
from utils.visualization import confidence, flow, label_maps

# widest picture or label map on the page, in pixels
WIDTH = 1280
# rows of the table of classes that two networks confuse with each other
PAIRS = 6
# color where both predict the same class
SAME_COLOR = (70, 74, 80)


class RejectedImage(ValueError):
    """An image is not predicted; the message says why."""


def title(model: LoadedModel) -> str:
    """Returns the name of a network on the page: the file, its folder and the architecture."""
    path = model.trained.path
    return f"{path.parent.name}/{path.name}, {model.trained.arch}"


def predict(model: LoadedModel, image: np.ndarray) -> np.ndarray:
    """Returns the train ids (H, W) of an image (H, W, 3)."""
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    return model.predictor.labels(batch)[0].cpu().numpy()


def predict_confidence(model: LoadedModel,
                       image: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the train ids (H, W) of an image (H, W, 3), and measure -> map of confidence."""
    return model.predictor.image_confidence(image, tuple(confidence.TITLES))


def read(path: str, name: str, max_pixels: int) -> np.ndarray:
    """Reads an uploaded picture as (H, W, 3), turned upright.

    Args:
        name: its name on the machine that it comes from.

    Raises:
        RejectedImage: it is too large, damaged, or no picture.
    """
    try:
        # reads only the size
        with Image.open(path) as header:
            width, height = header.size
    except (OSError, Image.DecompressionBombError):
        # `read_image` names the fault
        width = height = 0
    if width * height > max_pixels:
        raise RejectedImage(
            f"{name} has {width} × {height} pixels, more than the {max_pixels:,} that are accepted "
            "here: shrink it, or start the app with a larger --max_pixels."
        )
    try:
        return datasets.read_image(Path(path), upright=True)
    except datasets.DatasetError as error:
        raise RejectedImage(
            f"{str(error).replace(path, name)} PNG, JPEG and WebP pictures are read."
        ) from error


def decode(uri: str, max_pixels: int) -> np.ndarray:
    """Reads a frame of the camera, a picture in a data URI, as (H, W, 3).

    Raises:
        RejectedImage: it is too large or damaged.
    """
    try:
        data = base64.b64decode(uri.partition(",")[2], validate=True)
        frame = Image.open(io.BytesIO(data))
        # the size is known before the pixels are decoded
        too_large = frame.width * frame.height > max_pixels
        pixels = None if too_large else np.array(frame.convert("RGB"))
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        raise RejectedImage("The camera's frame is damaged.") from error
    if pixels is None:
        raise RejectedImage(
            f"The camera gives {frame.width} × {frame.height} pixels, more than the {max_pixels:,} "
            "that are accepted here: start the app with a larger --max_pixels."
        )
    return pixels


def live(model: LoadedModel, frame: np.ndarray) -> str:
    """Predicts a frame of the camera, and returns the value of the live viewer."""
    start = time.monotonic()
    labels = predict(model, frame)
    note = _summary(frame, time.monotonic() - start)
    return json.dumps({**classes(frame, labels, model.spec), "note": note, "live": True})


def predict_views(models: Sequence[LoadedModel], image: np.ndarray) -> tuple[str, list[str]]:
    """Predicts a picture with one network, or with two.

    Returns:
        A sentence for the user, and the values of the viewers: classes, flow fields and confidence
        of the first network, and of two networks their comparison.
    """
    start = time.monotonic()
    first, maps = predict_confidence(models[0], image)
    labels = [first, *(predict(model, image) for model in models[1:])]
    seconds = time.monotonic() - start
    views = [classes(image, first, models[0].spec), flow_fields(image, models[0]),
             confidence_maps(image, maps)]
    if len(models) == 2:
        views.append(comparison(image, labels, models))
    return _summary(image, seconds, len(models)), [json.dumps(view) for view in views]


def _summary(image: np.ndarray, seconds: float, networks: int = 1) -> str:
    height, width = image.shape[:2]
    both = "both " if networks == 2 else ""
    return f"{width} × {height} pixels, {both}predicted in {1000 * seconds:,.0f} ms"


def classes(image: np.ndarray, labels: np.ndarray, spec: datasets.DatasetSpec) -> dict[str, Any]:
    """Returns the picture, its label map and the share of each class."""
    return {"kind": "classes", "image": _picture(image), "labels": _ids(labels),
            "classes": _class_rows(spec, labels),
            "note": "Point at the picture or at a class to see where it is."}


def flow_fields(image: np.ndarray, model: LoadedModel) -> dict[str, Any]:
    """Returns the flow fields of a network in colors; no field if it has no flow alignment."""
    flows = flow.predict_flows(model.predictor, recorded_flows, image)
    fields = flow.color_flows(flows, image.shape[1])
    size = pictures.shrink(image, WIDTH).shape[1::-1]
    note = ("This network has no flow alignment, or it is an exported file, so there is no flow to "
            "show.")
    if fields:
        note = ("The color shows the direction and the distance at which a position reads its "
                "features: see the wheel.")
    entries = []
    for field in fields:
        picture = pictures.jpeg(cv2.resize(field.colors, size), 92)
        entries.append({"title": field.title, "note": field.note, "picture": picture})
    wheel = pictures.jpeg(label_maps.color_wheel(128), 95)
    return {"kind": "flows", "image": _picture(image), "wheel": wheel, "note": note,
            "fields": entries}


def confidence_maps(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the maps of a network's confidence in colors.

    Args:
        maps: measure -> (H, W) in [0, 1]; empty for a file that returns labels.
    """
    fields = []
    for name, values in maps.items():
        picture = pictures.shrink(confidence.colors(values), WIDTH)
        fields.append({"title": confidence.title(name, values), "note": "",
                       "picture": pictures.jpeg(picture, 90)})
    note = "Light where the network is sure, dark where it is not: the bar goes from 0 to 100 %."
    if not maps:
        note = ("This exported file returns labels, so there is no confidence to show: export the "
                "network with --output coarse.")
    return {"kind": "confidence", "image": _picture(image), "note": note, "fields": fields,
            "bar": pictures.jpeg(confidence.bar(256), 95)}


def comparison(image: np.ndarray, labels: Sequence[np.ndarray],
               models: Sequence[LoadedModel]) -> dict[str, Any]:
    """Returns the label maps of two networks, and the pairs of classes in which they differ most.

    Args:
        labels: the train ids (H, W) that each network predicts.
    """
    a, b = labels
    # counts[i, j]: pixels that A predicts as class i and B as class j
    pair_ids = a.ravel().astype(int) * 256 + b.ravel()
    counts = np.bincount(pair_ids, minlength=256 * 256).reshape(256, 256)
    np.fill_diagonal(counts, 0)
    pairs = []
    for index in np.argsort(-counts.ravel(), kind="stable")[:PAIRS]:
        class_a, class_b = divmod(int(index), 256)
        count = int(counts[class_a, class_b])
        if count:
            pairs.append({"a": class_a, "b": class_b, "share": count / a.size})
    spec = models[0].spec
    return {
        "kind": "comparison", "image": _picture(image), "labels": [_ids(a), _ids(b)],
        "titles": [title(model) for model in models], "classes": _class_rows(spec, a),
        "share": float(np.mean(a != b)), "pairs": pairs, "same": SAME_COLOR,
        "different": label_maps.WRONG,
    }


def _picture(image: np.ndarray) -> str:
    return pictures.jpeg(pictures.shrink(image, WIDTH), 88)


def _ids(labels: np.ndarray) -> str:
    return pictures.gray_png(pictures.shrink(labels, WIDTH))


def _class_rows(spec: datasets.DatasetSpec, labels: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [{"name": name, "rgb": spec.palette[i].tolist(), "share": float(counts[i] / labels.size)}
            for i, name in enumerate(spec.names)]
