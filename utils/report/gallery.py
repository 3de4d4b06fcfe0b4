"""The images of a report: which ones, what a network sees in them, and the layers that the page lays over each."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.evaluation.predictor import Predictor
from utils.logs import track
from utils.report import pictures, results
from utils.report.results import Results
from utils.visualization import flow as flows
from utils.visualization import label_maps
from utils.visualization.flow import ColoredFlow, RecordFlows

WIDTHS = (1024, 768, 512, 384, 256)                         # tried in turn until an image's layers fit into its share
BYTES = 340_000                                             # an image's share: 50 of them stay under 20 MB
THUMBNAIL = 300


@dataclass(frozen=True)
class ReportModel:
    """A network together with what its evaluation found."""

    results: Results
    predictor: Predictor
    record_flows: RecordFlows

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Parses an (H, W, 3) image as the evaluation did into train ids (H, W)."""
        return self.predictor.labels(_batch(image))[0].cpu().numpy()

    def flows(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the semantic flows (2 or 4, h, w) by which the network parses the whole (H, W, 3) image at once."""
        return flows.predict_flows(self.predictor, self.record_flows, image)


@dataclass(frozen=True)
class Choice:
    """An image of the gallery: its place in `Results.names`, and the group that it stands for."""

    index: int
    group: str


def choose(ranking: np.ndarray, count: int, groups: tuple[str, str, str], seed: int = 0) -> list[Choice]:
    """Picks images from both ends of a ranking, 2 of 5 from the low end, 3 of 10 from the high one, others at random.

    Args:
        ranking: (M,), one value an image; images without one (NaN) are not picked.
        groups: names of the low end, the high end and the rest.

    Returns:
        at most `count` different images, the lowest first, then the highest, then the others in their own order.
    """
    order = np.argsort(ranking, kind="stable")[:int((~np.isnan(ranking)).sum())]
    count = min(count, len(order))
    low = round(0.4 * count)
    high = min(round(0.3 * count), count - low)
    middle = order[low:len(order) - high]
    others = np.sort(np.random.default_rng(seed).choice(middle, count - low - high, replace=False))
    picked = ((order[:low], groups[0]), (order[len(order) - high:][::-1], groups[1]), (others, groups[2]))
    return [Choice(int(index), group) for indices, group in picked for index in indices]


def single(model: ReportModel, data: Any, choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
    """Yields what the page shows of each chosen image: image, truth, prediction, errors and flow fields.

    Args:
        data: `data[i]` is a dict of `image` (3, H, W) uint8 and `label` (H, W); `data.samples[i].name` names it.

    Raises:
        ValueError: the data holds other images than were scored.
    """
    palette = data.spec.palette
    for choice, image, truth in _read(model.results, data, choices):
        labels = model.labels(image)
        fields = flows.color_flows(model.flows(image), image.shape[1])
        yield {**_described(choice, image, model),
               "layers": _within_share(partial(_single_layers, image, truth, labels, fields, palette)),
               "flows": [{"title": field.title, "note": field.note} for field in fields],
               "thumbnail": _thumbnail(label_maps.overlay(image, labels, palette, 0.6))}


def paired(a: ReportModel, b: ReportModel, data: Any, choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
    """Yields what the page shows of each chosen image: image, truth, both predictions and where they disagree.

    The two models' results hold the same images in the same order. Args and Raises: see `single`.
    """
    for choice, image, truth in _read(a.results, data, choices):
        ours, theirs = a.labels(image), b.labels(image)
        apart = pictures.DISAGREEMENT_COLORS[pictures.disagreement(ours, theirs, truth)]
        yield {**_described(choice, image, a, b),
               "layers": _within_share(partial(_paired_layers, image, truth, ours, theirs, data.spec.palette)),
               "flows": [], "thumbnail": _thumbnail(_laid_over(image, apart))}


def _single_layers(image: np.ndarray, truth: np.ndarray, labels: np.ndarray, fields: Sequence[ColoredFlow],
                   palette: np.ndarray, width: int) -> dict[str, str]:
    truth, labels = pictures.shrink(truth, width), pictures.shrink(labels, width)
    colors = pictures.label_colors(palette)
    return {"image": pictures.jpeg(pictures.shrink(image, width)),
            "truth": pictures.palette_png(truth, colors), "prediction": pictures.palette_png(labels, colors),
            "errors": pictures.palette_png(pictures.errors(labels, truth), pictures.ERROR_COLORS),
            **{f"flow{i}": pictures.jpeg(pictures.shrink(field.colors, width), 90) for i, field in enumerate(fields)}}


def _paired_layers(image: np.ndarray, truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, palette: np.ndarray,
                   width: int) -> dict[str, str]:
    truth, ours, theirs = (pictures.shrink(ids, width) for ids in (truth, ours, theirs))
    colors = pictures.label_colors(palette)
    apart = pictures.disagreement(ours, theirs, truth)
    return {"image": pictures.jpeg(pictures.shrink(image, width)),
            "truth": pictures.palette_png(truth, colors),
            "a": pictures.palette_png(ours, colors), "b": pictures.palette_png(theirs, colors),
            "disagreement": pictures.palette_png(apart, pictures.DISAGREEMENT_COLORS)}


def _read(found: Results, data: Any, choices: Sequence[Choice]) -> Iterator[tuple[Choice, np.ndarray, np.ndarray]]:
    """Yields each choice with its image (H, W, 3) and truth (H, W)."""
    places = {sample.name: place for place, sample in enumerate(data.samples)}
    for choice in track(choices, len(choices), "pictures of the report"):
        name = found.names[choice.index]
        if name not in places:
            raise ValueError(f"{found.folder} scored an image {name}, which the data does not hold "
                             f"({len(places)} images, such as {next(iter(places), 'none')}): name the folder that was "
                             "scored with --data_root, or score again with eval.py")
        sample = data[places[name]]
        yield choice, sample["image"].permute(1, 2, 0).contiguous().numpy(), sample["label"].numpy()


def _described(choice: Choice, image: np.ndarray, *models: ReportModel) -> dict[str, Any]:
    """Returns the name, size and numbers of an image; scores are lists of one number a model."""
    counts = [model.results.matrices[choice.index] for model in models]
    per_class = [results.iou(matrix) for matrix in counts]
    return {
        "name": models[0].results.names[choice.index], "group": choice.group, "size": image.shape[:2],
        "mIoU": [_number(float(results.mean(ious))) for ious in per_class],
        "accuracy": [_number(float(results.accuracy(matrix))) for matrix in counts],
        "iou": [[_number(value) for value in ious.tolist()] for ious in per_class],
        "share": [round(float(value), 6) for value in counts[0].sum(1) / max(1, counts[0].sum())],
    }


def _within_share(layers: Callable[[int], dict[str, str]]) -> dict[str, str]:
    """Returns the layers at the greatest width at which together they keep within an image's share of the page."""
    for width in WIDTHS:
        made = layers(width)
        if sum(map(len, made.values())) <= BYTES:
            break
    return made


def _thumbnail(picture: np.ndarray) -> str:
    return pictures.jpeg(pictures.shrink(picture, THUMBNAIL), 76)


def _laid_over(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Returns the image under a layer of RGBA colors (H, W, 4)."""
    alpha = colors[..., 3:] / 255
    return (image * (1 - alpha) + colors[..., :3] * alpha).astype(np.uint8)


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)
