"""What an export costs: the network and its file, scored side by side on a labelled split."""
from __future__ import annotations

from typing import NamedTuple

import torch

from datasets import SegmentationDataset
from tools.export.formats import Run
from tools.export.graph import Graph, compare
from utils.evaluation.metrics import ConfusionMatrix
from utils.logs import track


class Scores(NamedTuple):
    """Mean IoU in [0, 1] of the network and of its file, and the share of labels in which they
    agree.
    """

    network: float
    file: float
    equal: float


def score(
    graph: Graph, run: Run, data: SegmentationDataset, size: tuple[int, int] | None
) -> Scores:
    """Parses every image of a split, at its own size, with the network and with its file.

    Args:
        run: the file, as its row of `FORMATS` opens it.
        size: (height, width) of the images that the file takes; None when it takes any.

    Raises:
        ValueError: an image has another size, or a file of the dataset is damaged.
    """
    matrices = [ConfusionMatrix(data.spec.num_classes) for _ in range(2)]
    equal: list[float] = []
    for index in track(range(len(data)), len(data), f"{data.spec.name} {data.split}"):
        sample = data[index]
        image, truth = sample["image"][None], sample["label"][None]
        require_size(sample["name"], (image.shape[-2], image.shape[-1]), size)
        images = graph.taken(image)
        with torch.inference_mode():
            expected, found = graph.logits(images), run(images)
        for matrix, labels in zip(matrices, (expected, found), strict=True):
            matrix.update(labels.argmax(1) if labels.ndim == 4 else labels, truth)
        equal.append(compare(expected, found).equal)
    network, file = (matrix.mean_iou() for matrix in matrices)
    return Scores(network, file, sum(equal) / len(equal))


def require_size(name: str, found: tuple[int, int], size: tuple[int, int] | None) -> None:
    """Raises ValueError where an image does not fit a file of one size."""
    if size is not None and found != size:
        raise ValueError(
            f"--score: {name} is {found[0]}x{found[1]}, but the file takes {size[0]}x{size[1]} "
            f"only: export with --size {found[0]}x{found[1]}, or with --dynamic."
        )
