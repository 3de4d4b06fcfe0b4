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
from utils.evaluation.boundary import boundary_f, mean_scores
from utils.evaluation.evaluator import Prediction, parse, share
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.training.signals import Interrupts
from utils.visualization import label_maps
from utils.visualization.flow import RecordFlows
from utils.visualization.flow import fields as flow_fields

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
                       help="images of one size that are parsed together, per process")


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


def judge(weights: str, predictor: Predictor, load: Loader, indices: Sequence[int], *, num_classes: int,
          palette: np.ndarray, record_flows: RecordFlows, interrupts: Interrupts, what: str, together: int = 1,
          thresholds: Sequence[float] = ()) -> ValidationResult:
    """Scores each image once, shared among the processes.

    Args:
        together: images of one size that are parsed in one batch.
        thresholds: of the boundary F-score; outlines are not scored without.

    Raises:
        Interrupted: a signal came to any process.
    """
    found = ValidationResult(weights, ConfusionMatrix(num_classes, device=predictor.device))
    mine = [indices[i] for i in share(len(indices))]
    rounds = len(range(0, len(indices), distributed.world_size()))
    with record_flows(predictor.net) as flows:
        for number, parsed in enumerate(parse(predictor, interrupts.during(load(mine), rounds), num_classes,
                                              total=len(mine), what=what, together=together)):
            if parsed.counts is not None:
                found.matrix.matrix += parsed.counts
            if thresholds and parsed.truth is not None:
                found.outlines.append(boundary_f(parsed.labels.cpu().numpy(), parsed.truth.numpy(), num_classes,
                                                 thresholds))
            if number < PICTURES and distributed.is_main():
                found.pictures[parsed.name] = picture(parsed, flows, palette)
    distributed.all_reduce_sum_(found.matrix.matrix)
    found.outlines = [each for shares in distributed.gather(found.outlines) for each in shares]
    return found


def picture(parsed: Prediction, flows: dict[str, Tensor], palette: np.ndarray) -> np.ndarray:
    """Returns image, truth, prediction and the flow of each alignment as one picture."""
    image, labels = parsed.image.permute(1, 2, 0).cpu().numpy(), parsed.labels.cpu().numpy()
    height, width = labels.shape
    titled = [("image", image)]
    if parsed.truth is not None:
        titled.append(("truth", label_maps.overlay(image, parsed.truth.cpu().numpy(), palette)))
    titled.append(("prediction", label_maps.overlay(image, labels, palette)))
    fields = flow_fields({name: each[parsed.place].cpu().numpy() for name, each in flows.items()}, width)
    titled += [(field.title, cv2.resize(field.colors, (width, height), interpolation=cv2.INTER_LINEAR))
               for field in fields]
    return label_maps.panels(titled, columns=3)
