"""Scoring a run on its way: which weights, which images, and pictures of what the network sees."""
from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from torch import Tensor, nn

from utils import distributed
from utils.cli import positive_int
from utils.evaluation.boundary import mean_scores
from utils.evaluation.evaluator import Prediction, predict, shard
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.training.signals import Interrupts
from utils.visualization import label_maps
from utils.visualization.flow import RecordFlows, color_flows

PICTURES = 2                                                # images that are shown at each validation
WEIGHTS = ("auto", "raw", "ema", "both")
Loader = Callable[[Sequence[int]], Iterable[dict[str, Any]]]            # indices -> batches of one image


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Validation")
    group.add_argument("--eval_weights", choices=WEIGHTS, default="auto",
                       help="what is scored during training: raw or averaged (ema) weights, or both, of which the "
                            "better score counts; auto is averaged where there are any")
    group.add_argument("--eval_images", type=positive_int,
                       help="a quick look: score only so many images, spread evenly over the split")
    group.add_argument("--bs_mult_val", type=positive_int, default=1,
                       help="images of one size per batch, in each process")


def wanted(choice: str, nets: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Returns those of the networks, by "raw" and perhaps "ema", that `--eval_weights` asks for.

    Raises:
        ValueError: averaged weights are asked for, and there are none.
    """
    names = {"auto": ["ema" if "ema" in nets else "raw"], "both": ["raw", "ema"]}.get(choice, [choice])
    if "ema" in names and "ema" not in nets:
        raise ValueError(f"--eval_weights {choice} needs averaged weights: give --ema_decay 0.999, or leave it out")
    return {name: nets[name] for name in names}


def spread(count: int, at_most: int | None) -> list[int]:
    """Returns `at_most` of `count` indices, evenly spread; all when None."""
    chosen = min(count, at_most or count)
    return [i * count // chosen for i in range(chosen)]


@dataclass
class ValidationResult:
    """What a validation found, over all processes; the pictures are the main one's."""

    weights: str
    matrix: ConfusionMatrix
    outlines: list[np.ndarray] = field(default_factory=list)        # of each image (T, K) boundary F, where asked for
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def boundary_f(self, thresholds: Sequence[float], names: Sequence[str]) -> dict[str, float]:
        """Returns the mean boundary F by threshold; nothing where outlines were not scored."""
        if not self.outlines:
            return {}
        return {at: scores["mean"] for at, scores in mean_scores(np.stack(self.outlines), thresholds, names).items()}


def evaluate(weights: str, predictor: Predictor, load: Loader, indices: Sequence[int], *, num_classes: int,
          palette: np.ndarray, record_flows: RecordFlows, interrupts: Interrupts, what: str, images_per_batch: int = 1,
          thresholds: Sequence[float] = ()) -> ValidationResult:
    """Scores each image once, shared among the processes.

    Args:
        images_per_batch: images of one size that are predicted in one batch.
        thresholds: of the boundary F-score; outlines are not scored without.

    Raises:
        Interrupted: a signal came to any process.
    """
    result = ValidationResult(weights, ConfusionMatrix(num_classes, device=predictor.device))
    local_indices = [indices[i] for i in shard(len(indices))]
    rounds = len(range(0, len(indices), distributed.world_size()))
    batches = interrupts.during(load(local_indices), rounds)
    with record_flows(predictor.net) as flows:
        predictions = predict(predictor, batches, total=len(local_indices), description=what,
                              images_per_batch=images_per_batch)
        for number, prediction in enumerate(predictions):
            result.matrix.add(prediction.counts(num_classes))
            boundary_scores = prediction.boundary_f(num_classes, thresholds)
            if boundary_scores is not None:
                result.outlines.append(boundary_scores)
            if number < PICTURES and distributed.is_main():
                result.pictures[prediction.name] = picture(prediction, flows, palette)
    distributed.all_reduce_sum_(result.matrix.matrix)
    gathered = distributed.gather(result.outlines)
    result.outlines = [scores for process in gathered for scores in process]
    return result


def picture(prediction: Prediction, flows: dict[str, Tensor], palette: np.ndarray) -> np.ndarray:
    """Returns image, labels, predictions and the flow of each alignment as one picture."""
    image = prediction.image.permute(1, 2, 0).cpu().numpy()
    predictions = prediction.predictions.cpu().numpy()
    height, width = predictions.shape
    titled = [("image", image)]
    if prediction.labels is not None:
        labels = prediction.labels.cpu().numpy()
        titled.append(("labels", label_maps.overlay(image, labels, palette)))
    titled.append(("predictions", label_maps.overlay(image, predictions, palette)))
    of_image = {name: flow[prediction.batch_index].cpu().numpy() for name, flow in flows.items()}
    for flow in color_flows(of_image, width):
        colors = cv2.resize(flow.colors, (width, height), interpolation=cv2.INTER_LINEAR)
        titled.append((flow.title, colors))
    return label_maps.panels(titled, columns=3)
