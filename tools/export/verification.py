"""Verifies an exported file: its metadata, and its outputs in its own runtime."""
from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets import SegmentationDataset, read_image
from tools.export import int8
from utils.backends.formats import Format
from utils.backends.graph import SMALLEST, ExportModule, Metadata, Run, Tolerance, compare
from utils.errors import in_a_line

log = logging.getLogger(__name__)

# number of calibration images on which an int8 file is verified
VERIFIED_IMAGES = 4


class OutOfTolerance(ValueError):
    """The exported file computes something else than the network."""


def open_file(row: Format, path: Path, expected: Metadata) -> Run:
    """Opens a file that was just written, and checks its metadata.

    Raises:
        OutOfTolerance: the runtime cannot open the file, or the metadata differs.
    """
    # the runtimes raise errors of many types
    try:
        run, metadata = row.open(path)
    except Exception as error:
        raise OutOfTolerance(f"{row.runtime} refuses what torch {torch.__version__} wrote "
                             f"({in_a_line(error, whole=False)}): it was not kept. Try a newer "
                             "torch, a fixed size or another --format.") from error
    if any(metadata.get(name) != value for name, value in expected.items()):
        raise OutOfTolerance(f"{path.name}: the metadata is not what was written")
    return run


def verify(module: ExportModule, run: Run, inputs: Iterable[Tensor], *, name: str, runtime: str,
           tolerance: Tolerance, advice: str) -> None:
    """Compares the file with the network on batches of inputs.

    Args:
        run: runs the file, see `Format.open`.
        inputs: batches as `ExportModule` takes them.
        name: name of the file, for messages.
        runtime: name of the runtime, for messages.
        advice: what to try if the file is out of tolerance.

    Raises:
        OutOfTolerance: the file does not run, too many labels differ, or logits differ too much.
    """
    for images in inputs:
        count, _, height, width = images.shape
        with torch.inference_mode():
            expected = module.logits(images)
            # the guards of a program are assertions; the runtimes raise errors of many types
            try:
                output = run(images)
            except Exception as error:
                raise OutOfTolerance(f"{name} does not run at {height}x{width} "
                                     f"({in_a_line(error, whole=False)}): it was not kept. Try "
                                     "a larger --size, or a fixed one.") from error
        difference = compare(expected, output)
        measured = "logits differ"
        if output.ndim < expected.ndim:
            # the file gives no logits
            measured = "the network's logits of two differing labels differ"
        log.info("%dx3x%dx%d in %s: %.3f %% equal labels; %s by at most %.1e of the largest logit",
                 count, height, width, runtime, 100 * difference.equal, measured,
                 difference.largest)
        if not difference.within(tolerance):
            raise OutOfTolerance(f"{name} differs from the network at {height}x{width} by more "
                                 f"than is tolerable: it was not kept. Try {advice}.")


def second_size(size: tuple[int, int]) -> tuple[int, int]:
    """Returns another (height, width), at which a file with open sizes is verified too."""
    height, width = size
    return max(2 * SMALLEST, height * 3 // 4 + 1), max(2 * SMALLEST, width // 2 + 1)


def examples(module: ExportModule, size: tuple[int, int], dynamic: bool) -> Iterator[Tensor]:
    """Yields smooth images, and for open sizes a batch of a second size."""
    yield module.example(size)
    if dynamic:
        yield module.example(second_size(size), batch=2)


def training_images(module: ExportModule, data: SegmentationDataset, count: int,
                    size: tuple[int, int]) -> Iterator[Tensor]:
    """Yields the images to calibrate on, resized to (height, width), as inputs of the module."""
    for index in int8.calibration_indices(count, len(data)):
        image = torch.from_numpy(read_image(data.samples[index].image))
        batch = image.permute(2, 0, 1)[None].float()
        yield module.as_input(F.interpolate(batch, size=size, mode="bilinear", antialias=True))


def calibration_examples(module: ExportModule, data: SegmentationDataset, count: int,
                         size: tuple[int, int], dynamic: bool) -> Iterator[Tensor]:
    """Yields the first of the images to calibrate on, and for open sizes a batch of a second size.

    Args:
        count: number of images to calibrate on.
    """
    yield from islice(training_images(module, data, count, size), VERIFIED_IMAGES)
    if dynamic:
        images = training_images(module, data, count, second_size(size))
        yield torch.cat([*islice(images, VERIFIED_IMAGES)])
