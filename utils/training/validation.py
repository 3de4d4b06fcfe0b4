"""Evaluation during training: which weights, which images, the best result so far, and pictures."""
from __future__ import annotations

import logging
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from utils import distributed
from utils.cli import positive_int
from utils.evaluation import boundary
from utils.evaluation.boundary import BoundaryOptions, mean_scores
from utils.evaluation.evaluator import Prediction, predict
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.precision import without_kernel_search
from utils.training.run_log import RunLog
from utils.training.signals import Interrupts
from utils.visualization import label_maps
from utils.visualization.flow import RecordFlows, color_flows

log = logging.getLogger("train")

PICTURES = 2                    # images that a validation shows in TensorBoard
WEIGHTS = ("auto", "raw", "ema", "both")
TEST_IMAGES = 2                 # of --test_mode

# indices of images -> batches of one image
Loader = Callable[[Sequence[int]], Iterable[dict[str, Any]]]


def add_flags(parser: ArgumentParser, scenes: bool = True) -> None:
    """Declares the flags of `ValidationOptions`; `scenes` as in `utils.training.options`."""
    group = parser.add_argument_group("Validation")
    group.add_argument("--eval_weights", choices=WEIGHTS, default="auto",
                       help="weights to validate: raw, averaged (ema), or both, of which the "
                            "better score counts; auto takes the averaged ones if there are any")
    group.add_argument("--eval_images", type=positive_int,
                       help="validate on so many images only, spread evenly over the split "
                            "(default: all)")
    group.add_argument("--bs_mult_val", type=positive_int, default=1,
                       help="images of one size that are predicted in one batch, per process")
    if scenes:
        boundary.add_flags(parser)


@dataclass(frozen=True)
class ValidationOptions:
    """The fields are the flags of the same name; `boundary` those of the boundary F-score."""

    eval_weights: str = "auto"
    eval_images: int | None = None
    bs_mult_val: int = 1
    boundary: BoundaryOptions = field(default_factory=BoundaryOptions)

    @classmethod
    def from_args(cls, args: Namespace) -> ValidationOptions:
        boundary = BoundaryOptions.from_args(args) if "evaluateF" in args else BoundaryOptions()
        return cls(eval_weights=args.eval_weights,
                   eval_images=TEST_IMAGES if args.test_mode else args.eval_images,
                   bs_mult_val=args.bs_mult_val, boundary=boundary)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds of the boundary F-score, empty where it is not asked for."""
        return self.boundary.thresholds if self.boundary.enabled else ()


@dataclass
class ValidationResult:
    """The result of one validation of one set of weights, over all processes.

    Args:
        weights: "raw" or "ema".
        boundary_scores: (T, K) boundary F-scores of each image, where they are asked for.
        pictures: title -> (H, W, 3) uint8 RGB, on rank 0.
    """

    weights: str
    matrix: ConfusionMatrix
    boundary_scores: list[np.ndarray] = field(default_factory=list)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def mean_boundary_f(self, thresholds: Sequence[float],
                        names: Sequence[str]) -> dict[str, float]:
        """Returns threshold -> mean boundary F-score; empty where it was not computed."""
        if not self.boundary_scores:
            return {}
        scores = mean_scores(np.stack(self.boundary_scores), thresholds, names)
        return {threshold: values["mean"] for threshold, values in scores.items()}


class Validator:
    """Evaluates the networks of a run on its validation split.

    Args:
        data: the validation split, None if nothing is validated.
        nets: "raw" -> the network, and "ema" -> its average if there is one.
        load: indices -> batches of one image.
        precision, mean, std, channels_last: of the predictor.
        record_flows: context that records the flow fields of a network.
        syncbn: without it each rank has its own batch statistics, and rank 0's are copied first.
    """

    def __init__(self, data: Any, nets: dict[str, nn.Module], options: ValidationOptions, *,
                 load: Loader, device: torch.device, precision: str, mean: Sequence[float],
                 std: Sequence[float], channels_last: bool, record_flows: RecordFlows,
                 syncbn: bool) -> None:
        self.data = data
        self.nets = select_weights(options.eval_weights, nets)
        self.options = options
        self.load = load
        self.device = device
        self.precision = precision
        self.mean, self.std = mean, std
        self.channels_last = channels_last
        self.record_flows = record_flows
        self.syncbn = syncbn

    def evaluate(self, interrupts: Interrupts) -> list[ValidationResult]:
        """Evaluates each network on the images, each image once, divided among the processes.

        Raises:
            Interrupted: any process received a signal.
        """
        results = []
        with without_kernel_search():
            for weights, net in self.nets.items():
                if not self.syncbn:
                    distributed.copy_buffers_from_main(net)
                predictor = Predictor(net, self.device, self.precision, self.mean, self.std,
                                      self.channels_last)
                results.append(self._evaluate(weights, predictor, interrupts))
        return results

    @property
    def spec(self) -> Any:
        """The `DatasetSpec` of the split."""
        return self.data.spec

    @property
    def indices(self) -> list[int]:
        """The images to validate on."""
        return evenly_spaced(len(self.data), self.options.eval_images)

    def _evaluate(self, weights: str, predictor: Predictor,
                  interrupts: Interrupts) -> ValidationResult:
        num_classes, thresholds = self.spec.num_classes, self.options.thresholds
        result = ValidationResult(weights, ConfusionMatrix(num_classes, device=predictor.device))
        batches, count = load_share(self.load, self.indices, interrupts)
        with self.record_flows(predictor.net) as flows:
            predictions = predict(predictor, batches, total=count,
                                  description=f"validation on {self.data.split}, {weights} weights",
                                  images_per_batch=self.options.bs_mult_val)
            for number, prediction in enumerate(predictions):
                result.matrix.add(prediction.counts(num_classes))
                scores = prediction.boundary_f(num_classes, thresholds)
                if scores is not None:
                    result.boundary_scores.append(scores)
                if number < PICTURES and distributed.is_main():
                    picture = draw(prediction, flows, self.spec.palette)
                    result.pictures[prediction.name] = picture
        distributed.all_reduce_sum_(result.matrix.matrix)
        gathered = distributed.gather(result.boundary_scores)
        result.boundary_scores = [scores for of_rank in gathered for scores in of_rank]
        return result

    def log_results(self, run_log: RunLog, results: list[ValidationResult], *, step: int,
                    epoch: float) -> float:
        """Logs the results of a step; returns the best mIoU among the weights.

        NaN if the images have no labeled pixel, with a warning.
        """
        # NaN, which has no order, comes last
        best = max(results, key=lambda result: np.nan_to_num(result.matrix.mean_iou(), nan=-1.0))
        if best.matrix.pixels == 0:
            log.warning("validation after step %d: none of %d images of %s has a labeled pixel, so "
                        "there is no mIoU, and no best.pth of this step: check the labels with "
                        "python -m tools.check_dataset", step, len(self.indices), self.data.split)
        scores = best.matrix.summary(self.spec.names)
        mean_ious = {result.weights: result.matrix.mean_iou() for result in results}
        boundary_f = best.mean_boundary_f(self.options.thresholds, self.spec.names)
        run_log.write("validation", step, epoch=epoch, weights=best.weights, mIoU=scores["mIoU"],
                      pixel_accuracy=scores["pixel_accuracy"],
                      per_class_IoU=scores["per_class_IoU"], mIoU_of=mean_ious,
                      boundary_F=boundary_f)
        run_log.add_images({f"validation/{name}": picture
                            for name, picture in best.pictures.items()}, step)
        listed = ", ".join(f"{100 * mean_iou:.2f} % ({weights} weights)"
                           for weights, mean_iou in mean_ious.items()
                           if not math.isnan(mean_iou)) or "undefined"
        log.info("validation after step %d: mIoU %s on %d of %d images of %s", step, listed,
                 len(self.indices), len(self.data), self.data.split)
        return mean_ious[best.weights]


def select_weights(choice: str, nets: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Returns the networks, by "raw" and "ema", that `--eval_weights` chooses.

    Raises:
        ValueError: averaged weights are chosen, and there are none.
    """
    automatic = "ema" if "ema" in nets else "raw"
    names = {"auto": [automatic], "both": ["raw", "ema"]}.get(choice, [choice])
    if "ema" in names and "ema" not in nets:
        raise ValueError(f"--eval_weights {choice} needs averaged weights: give --ema_decay "
                         "0.999, or leave it out")
    return {name: nets[name] for name in names}


def evenly_spaced(count: int, limit: int | None) -> list[int]:
    """Returns `limit` of `count` indices, evenly spaced; all of them if `limit` is None."""
    length = min(count, limit or count)
    return [i * count // length for i in range(length)]


def load_share(load: Loader, indices: Sequence[int],
               interrupts: Interrupts) -> tuple[Iterator[dict[str, Any]], int]:
    """Loads this process's share of the images, and checks for signals after each image.

    Returns:
        Batches of one image, and their number.
    """
    local = [indices[i] for i in distributed.shard(len(indices))]
    most_images_of_a_rank = len(range(0, len(indices), distributed.world_size()))
    return interrupts.during(load(local), most_images_of_a_rank), len(local)


def draw(prediction: Prediction, flows: dict[str, Tensor], palette: np.ndarray) -> np.ndarray:
    """Returns image, labels, predictions and each alignment's flow in one picture (H, W, 3).

    Each panel is at most 640 pixels wide: TensorBoard takes longer to write full-size pictures than
    the network to predict them.
    """
    nearest = cv2.INTER_NEAREST_EXACT
    image = label_maps.shrink(prediction.image.permute(1, 2, 0).contiguous().cpu().numpy())
    predictions = label_maps.shrink(prediction.predictions.cpu().numpy(), nearest)
    height, width = predictions.shape
    panels = [("image", image)]
    if prediction.labels is not None:
        labels = label_maps.shrink(prediction.labels.cpu().numpy(), nearest)
        panels.append(("labels", label_maps.overlay(image, labels, palette)))
    panels.append(("predictions", label_maps.overlay(image, predictions, palette)))
    index = prediction.batch_index
    fields = {name: flow[index].cpu().numpy() for name, flow in flows.items()}
    # the strides in the titles are those of the whole image
    for flow in color_flows(fields, prediction.predictions.shape[1]):
        colors = cv2.resize(flow.colors, (width, height), interpolation=cv2.INTER_LINEAR)
        panels.append((flow.title, colors))
    return label_maps.panels(panels, columns=3)
