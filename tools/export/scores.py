"""The loss of accuracy by an export: the mIoU of the network and of its file on a labeled split."""
from __future__ import annotations

from typing import NamedTuple

import torch

from datasets import SegmentationDataset
from utils.backends.graph import ExportModule, Run, compare
from utils.evaluation.label_map import label_map
from utils.evaluation.metrics import ConfusionMatrix
from utils.logs import track


class Scores(NamedTuple):
    """The scores of an export, each in [0, 1].

    Attributes:
        network, file: mean IoU.
        equal: fraction of pixels for which network and file predict the same class.
    """

    network: float
    file: float
    equal: float


def score(module: ExportModule, run: Run, data: SegmentationDataset,
          size: tuple[int, int] | None) -> Scores:
    """Predicts each image of a split, at its own size, with the network and with its file.

    Args:
        run: runs the file, see `Format.open`.
        size: (height, width) of the images that the file takes; None if it takes any.

    Raises:
        ValueError: an image has another size, or a file of the dataset is damaged.
    """
    network_matrix = ConfusionMatrix(data.spec.num_classes)
    file_matrix = ConfusionMatrix(data.spec.num_classes)
    equal = 0.0
    for index in track(range(len(data)), len(data), f"{data.spec.name} {data.split}"):
        sample = data[index]
        image, labels = sample["image"][None], sample["label"][None]
        image_size = image.shape[-2], image.shape[-1]
        require_size(sample["name"], image_size, size)
        images = module.as_input(image)
        with torch.inference_mode():
            logits = module.logits(images)
            output = run(images)
        network_matrix.update(label_map(logits, image_size), labels)
        # logits may be coarser than the image
        predictions = label_map(output, image_size) if output.ndim == 4 else output
        file_matrix.update(predictions, labels)
        equal += compare(logits, output).equal
    return Scores(network_matrix.mean_iou(), file_matrix.mean_iou(), equal / len(data))


def require_size(name: str, image_size: tuple[int, int], size: tuple[int, int] | None) -> None:
    """Raises ValueError if an image has another (height, width) than the file takes.

    Args:
        name: name of the image, for the message.
        size: None if the file takes images of any size.
    """
    if size is None or image_size == size:
        return
    height, width = image_size
    raise ValueError(f"--score: {name} is {height}x{width}, but the file takes "
                     f"{size[0]}x{size[1]} only: export with --size {height}x{width}, or with "
                     "--dynamic.")
