"""RandAugment (Cubuk et al., arXiv 1909.13719) of an image together with its label.

The operations are those of torchvision, with the ranges of its `RandAugment`, which draws from
torch's global generator and cannot move a label along.
"""
from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from transforms.base import Focus, Pair
from transforms.geometry import IMAGENET_GRAY
from utils import IGNORE_LABEL
from utils.errors import in_a_line

MAX_MAGNITUDE = 30


def _degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


def _factor(strength: float) -> tuple[float]:
    return (1 + 0.9 * strength,)


class ColorOperation(NamedTuple):
    """An operation that changes colors only.

    Args:
        function: of `torchvision.transforms.v2.functional`.
        arguments: strength -> the function's arguments after the image.
        is_signed: the strength is in [-1, 1] and its sign is random; otherwise it is in [0, 1].
    """

    function: str
    arguments: Callable[[float], tuple[float, ...]]
    is_signed: bool = True


# Operations that move pixels: name -> (strength in [-1, 1], height, width) -> the arguments of
# `affine` that are not neutral. The sign of the strength is random.
MOVES: dict[str, Callable[[float, int, int], dict[str, Any]]] = {
    "shear_x": lambda strength, height, width: {"shear": [_degrees(0.3 * strength), 0.0]},
    "shear_y": lambda strength, height, width: {"shear": [0.0, _degrees(0.3 * strength)]},
    "translate_x": lambda strength, height, width: {
        "translate": [round(150 / 331 * strength * width), 0]},
    "translate_y": lambda strength, height, width: {
        "translate": [0, round(150 / 331 * strength * height)]},
    "rotate": lambda strength, height, width: {"angle": 30 * strength},
}
COLORS = {
    "brightness": ColorOperation("adjust_brightness", _factor),
    "color": ColorOperation("adjust_saturation", _factor),
    "contrast": ColorOperation("adjust_contrast", _factor),
    "sharpness": ColorOperation("adjust_sharpness", _factor),
    "posterize": ColorOperation("posterize", lambda strength: (8 - round(4 * strength),), False),
    "solarize": ColorOperation("solarize", lambda strength: (255 * (1 - strength),), False),
    "autocontrast": ColorOperation("autocontrast", lambda strength: (), False),
    "equalize": ColorOperation("equalize", lambda strength: (), False),
}
NAMES = ("identity", *MOVES, *COLORS)


class RandAugment:
    """Applies random operations, one after the other, at one magnitude.

    Operations that move pixels move those of the label too, by nearest neighbor. What they
    uncover is gray and ignored.

    Args:
        count: number of operations, at least 1; an operation may be drawn again.
        magnitude: 0 to `MAX_MAGNITUDE`, the strongest.

    Raises:
        ValueError: a number is out of range, or torchvision is not installed.
    """

    def __init__(self, count: int = 2, magnitude: int = 9) -> None:
        if count < 1 or not 0 <= magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"--randaugment {count}:{magnitude} is out of range: give N:M, at "
                             f"least 1 operation of magnitude 0 to {MAX_MAGNITUDE}.")
        _torchvision()
        self.count = count
        self.strength = magnitude / MAX_MAGNITUDE

    def draw(self, rng: np.random.Generator) -> str:
        """Draws the operations of a sample, such as "rotate:-0.3 equalize:0.3".

        They are text, which stays on the host when the tensors of a batch are copied to a GPU: a
        host that reads a tensor there has to wait for it.
        """
        operations = []
        for _ in range(self.count):
            name = NAMES[int(rng.integers(len(NAMES)))]
            is_signed = name in MOVES or (name in COLORS and COLORS[name].is_signed)
            is_negative = rng.random() < 0.5 and is_signed
            operations.append(f"{name}:{-self.strength if is_negative else self.strength}")
        return " ".join(operations)

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        pair = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)
        with one_thread():
            changed, moved = augmented(*pair, self.draw(rng))
        return np.ascontiguousarray(changed.permute(1, 2, 0).numpy()), moved.numpy()

    def apply(self, images: Tensor, labels: Tensor,
              operations: list[str]) -> tuple[Tensor, Tensor]:
        """Changes a batch, on its device.

        Args:
            images: (N, 3, H, W) uint8.
            labels: (N, H, W) uint8.
            operations: the N texts of `draw`.
        """
        pairs = [augmented(*sample) for sample in zip(images, labels, operations, strict=True)]
        changed, moved = zip(*pairs, strict=True)
        return torch.stack(changed), torch.stack(moved)


def augmented(image: Tensor, label: Tensor, operations: str) -> tuple[Tensor, Tensor]:
    """Applies the operations of `RandAugment.draw`.

    Args:
        image: (3, H, W) uint8.
        label: (H, W) uint8.
    """
    for operation in operations.split():
        name, text = operation.split(":")
        strength = float(text)
        if name in MOVES:
            image, label = _moved(image, label, MOVES[name](strength, *label.shape))
        elif name in COLORS:
            function, arguments, _ = COLORS[name]
            image = getattr(_torchvision().v2.functional, function)(image, *arguments(strength))
    return image, label


def _moved(image: Tensor, label: Tensor, changes: dict[str, Any]) -> tuple[Tensor, Tensor]:
    transforms = _torchvision()
    affine, interpolation = transforms.v2.functional.affine, transforms.InterpolationMode
    arguments = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **changes}
    image = affine(image, **arguments, interpolation=interpolation.BILINEAR,
                   fill=[float(level) for level in IMAGENET_GRAY])
    moved = affine(label[None], **arguments, interpolation=interpolation.NEAREST,
                   fill=[float(IGNORE_LABEL)])
    return image, moved[0]


def _torchvision() -> Any:
    """Returns `torchvision.transforms`, with `v2`; its import takes more than a second."""
    try:
        from torchvision import transforms
        from torchvision.transforms import v2  # noqa: F401
    # that of another torch raises a RuntimeError
    except Exception as error:
        raise ValueError(f"--randaugment computes with torchvision ({in_a_line(error)}): install "
                         "it in the version that belongs to your torch, with pip install "
                         "torchvision") from error
    return transforms


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, as the loader's workers do: sums then round the same anywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def count_and_magnitude(text: str) -> tuple[int, int]:
    """Reads "N:M", the number of operations and their magnitude."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not N:M, a number of operations and their "
                                         f"magnitude from 0 to {MAX_MAGNITUDE}, such as 2:9")
    return int(match[1]), int(match[2])
