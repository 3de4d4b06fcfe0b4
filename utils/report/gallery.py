"""The images of a report: which ones, what a network predicts for them, and layers to show."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from utils.evaluation.predictor import Predictor
from utils.logs import track
from utils.report import pictures, results
from utils.report.results import Results
from utils.visualization import confidence, label_maps
from utils.visualization import flow as flows
from utils.visualization.flow import RecordFlows

# tried from the left until the layers of an image take at most MAX_BYTES
WIDTHS = (1024, 768, 512, 384, 256)
# of the layers of an image: a page of 50 images stays below 20 MB
MAX_BYTES = 340_000
THUMBNAIL_WIDTH = 300


@dataclass(frozen=True)
class ReportModel:
    """A network with the results of its evaluation."""

    results: Results
    predictor: Predictor
    record_flows: RecordFlows

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Predicts the train ids (H, W) of an (H, W, 3) image as in the evaluation."""
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        return self.predictor.labels(batch)[0].cpu().numpy()

    def predict_confidence(self, image: np.ndarray
                           ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns the train ids of `predict`, and measure -> map (H, W) of their confidence."""
        return self.predictor.image_confidence(image, tuple(confidence.TITLES))

    def predict_flows(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the semantic flows (2 or 4, h, w) in predicting the whole (H, W, 3) image."""
        return flows.predict_flows(self.predictor, self.record_flows, image)


@dataclass(frozen=True)
class Choice:
    """An image of the gallery: its index in `Results.names`, and the group it was chosen for."""

    index: int
    group: str


def choose(ranking: np.ndarray, count: int, groups: tuple[str, str, str],
           seed: int = 0) -> list[Choice]:
    """Chooses 40 % of the images from the low end of a ranking, 30 % from the high end, and others.

    Args:
        ranking: (M,), the value of each image; images with NaN are not chosen.
        count: number of images, at most.
        groups: names of the low end, the high end and the rest.

    Returns:
        Different images: the lowest first, then the highest, then random others in their own order.
    """
    num_ranked = int((~np.isnan(ranking)).sum())
    order = np.argsort(ranking, kind="stable")[:num_ranked]
    count = min(count, num_ranked)
    low = round(0.4 * count)
    high = min(round(0.3 * count), count - low)
    middle = order[low:num_ranked - high]
    rng = np.random.default_rng(seed)
    others = np.sort(rng.choice(middle, count - low - high, replace=False))
    highest = order[num_ranked - high:][::-1]
    chosen = zip((order[:low], highest, others), groups, strict=True)
    return [Choice(int(index), group) for indices, group in chosen for index in indices]


def single_items(model: ReportModel, data: Any,
                 choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
    """Yields what the page of one model shows of each image.

    The layers are image, labels, predictions, errors, confidence and flow fields.

    Args:
        data: `data[i]` is a dict of `image` (3, H, W) uint8 and `label` (H, W); `data.samples[i]`
            has a `name`, and `data.spec` a `palette`.

    Raises:
        ValueError: the data does not hold an image that was evaluated.
    """
    palette = data.spec.palette
    for choice, image, labels in _read(model.results, data, choices):
        predictions, maps = model.predict_confidence(image)
        colored_flows = flows.color_flows(model.predict_flows(image), image.shape[1])
        fields = {name: confidence.colors(values) for name, values in maps.items()}
        fields |= {f"flow{i}": flow.colors for i, flow in enumerate(colored_flows)}
        layers = partial(_single_layers, image, labels, predictions, fields, palette)
        yield {
            **_numbers(choice, image, model),
            "layers": _shrink_to_fit(layers),
            "flows": [{"title": flow.title, "note": flow.note} for flow in colored_flows],
            "thumbnail": _thumbnail(label_maps.overlay(image, predictions, palette, 0.6)),
        }


def paired_items(a: ReportModel, b: ReportModel, data: Any,
                 choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
    """Yields what the page of two models shows of each image.

    The layers are image, labels, both predictions and where they disagree.

    Args:
        a, b: the results hold the same images in the same order.
        data: see `single_items`.

    Raises:
        ValueError: the data does not hold an image that was evaluated.
    """
    for choice, image, labels in _read(a.results, data, choices):
        of_a, of_b = a.predict(image), b.predict(image)
        disagreement = pictures.disagreement(of_a, of_b, labels)
        colors = pictures.DISAGREEMENT_COLORS[disagreement]
        layers = partial(_paired_layers, image, labels, of_a, of_b, data.spec.palette)
        yield {
            **_numbers(choice, image, a, b),
            "layers": _shrink_to_fit(layers),
            "flows": [],
            "thumbnail": _thumbnail(_blend(image, colors)),
        }


def _single_layers(image: np.ndarray, labels: np.ndarray, predictions: np.ndarray,
                   fields: Mapping[str, np.ndarray], palette: np.ndarray,
                   width: int) -> dict[str, str]:
    """Returns layer -> picture.

    Args:
        fields: further layers, (h, w, 3) RGB.
    """
    labels, predictions = pictures.shrink(labels, width), pictures.shrink(predictions, width)
    class_colors = pictures.label_colors(palette)
    errors = pictures.errors(predictions, labels)
    layers = {
        "image": pictures.jpeg(pictures.shrink(image, width)),
        "labels": pictures.palette_png(labels, class_colors),
        "predictions": pictures.palette_png(predictions, class_colors),
        "errors": pictures.palette_png(errors, pictures.ERROR_COLORS),
    }
    for name, colors in fields.items():
        layers[name] = pictures.jpeg(pictures.shrink(colors, width), 90)
    return layers


def _paired_layers(image: np.ndarray, labels: np.ndarray, of_a: np.ndarray, of_b: np.ndarray,
                   palette: np.ndarray, width: int) -> dict[str, str]:
    labels, of_a, of_b = (pictures.shrink(ids, width) for ids in (labels, of_a, of_b))
    colors = pictures.label_colors(palette)
    disagreement = pictures.disagreement(of_a, of_b, labels)
    return {
        "image": pictures.jpeg(pictures.shrink(image, width)),
        "labels": pictures.palette_png(labels, colors),
        "a": pictures.palette_png(of_a, colors),
        "b": pictures.palette_png(of_b, colors),
        "disagreement": pictures.palette_png(disagreement, pictures.DISAGREEMENT_COLORS),
    }


def _read(evaluated: Results, data: Any,
          choices: Sequence[Choice]) -> Iterator[tuple[Choice, np.ndarray, np.ndarray]]:
    """Yields each choice with its image (H, W, 3) and labels (H, W)."""
    indices = {sample.name: index for index, sample in enumerate(data.samples)}
    for choice in track(choices, len(choices), "pictures of the report"):
        name = evaluated.names[choice.index]
        if name not in indices:
            raise ValueError(f"{evaluated.folder} scored an image {name}, which the data does not "
                             f"hold ({len(indices)} images, such as {next(iter(indices), 'none')})"
                             ": name the folder that was scored with --data_root, or score again "
                             "with eval.py")
        sample = data[indices[name]]
        image = sample["image"].permute(1, 2, 0).contiguous().numpy()
        yield choice, image, sample["label"].numpy()


def _numbers(choice: Choice, image: np.ndarray, *models: ReportModel) -> dict[str, Any]:
    """Returns the name, size and scores of an image; each score is a list with one per model."""
    matrices = [model.results.matrices[choice.index] for model in models]
    ious = [results.iou(matrix) for matrix in matrices]
    frequencies = matrices[0].sum(1) / max(1, matrices[0].sum())
    return {
        "name": models[0].results.names[choice.index],
        "group": choice.group,
        "size": image.shape[:2],
        "mIoU": [_json_number(float(results.mean(per_class))) for per_class in ious],
        "accuracy": [_json_number(float(results.accuracy(matrix))) for matrix in matrices],
        "iou": [[_json_number(value) for value in per_class.tolist()] for per_class in ious],
        "share": [round(float(frequency), 6) for frequency in frequencies],
    }


def _shrink_to_fit(layers: Callable[[int], dict[str, str]]) -> dict[str, str]:
    """Returns the layers at the greatest width at which they take at most `MAX_BYTES` together."""
    for width in WIDTHS:
        encoded = layers(width)
        if sum(map(len, encoded.values())) <= MAX_BYTES:
            break
    return encoded


def _thumbnail(picture: np.ndarray) -> str:
    return pictures.jpeg(pictures.shrink(picture, THUMBNAIL_WIDTH), 76)


def _blend(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Returns the image under a layer of RGBA colors (H, W, 4)."""
    alpha = colors[..., 3:] / 255
    return (image * (1 - alpha) + colors[..., :3] * alpha).astype(np.uint8)


def _json_number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)
