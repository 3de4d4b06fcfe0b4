"""The module that is exported, its graph, and the comparison of outputs with its logits."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from utils.errors import in_a_line

INPUTS = ("normalized", "rgb")
OUTPUTS = ("labels", "logits", "coarse")
# smallest height and width of an image: the coarsest stride of the networks, in pixels
SMALLEST = 32
EXAMPLE_SEED = 0
# name -> JSON text
Metadata = Mapping[str, str]
# runs a file: inputs (N, 3, H, W) -> labels (N, H, W) or logits (N, K, H, W)
Run = Callable[[Tensor], Tensor]


class Tolerance(NamedTuple):
    """How far the outputs of a file may be from those of the network.

    Attributes:
        equal: smallest fraction of equal labels.
        largest: largest difference of two logits, as a fraction of the largest absolute logit.
    """

    equal: float
    largest: float


EXACT = Tolerance(0.999, 1e-3)
# of a file with float16 weights, or of a runtime that computes in bf16
HALF = Tolerance(0.97, 0.1)
# On training images. It only detects a broken file: --score measures the loss of mIoU.
INT8 = Tolerance(0.9, 0.5)


class ExportModule(nn.Module):
    """A network, prepared for inference, with the normalization before and the arg max after it.

    Args:
        net: see `network.fuse_for_inference`.
        input: "normalized", (N, 3, H, W) float32 that is (RGB / 255 - mean) / std, or "rgb",
            (N, 3, H, W) uint8.
        output: "labels", (N, H, W) int32; "logits", (N, K, H, W) float32 at the image's size; or
            "coarse", the same at the head's stride.
        temperature: by which "logits" are divided, so that their softmax is calibrated.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float], input: str,
                 output: str, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.net = net
        self.input = input
        self.output = output
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std)
        self.register_buffer("shift", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 255 * torch.tensor(std).view(1, 3, 1, 1))
        self.eval()

    def logits(self, images: Tensor) -> Tensor:
        """Returns (N, K, H, W) float32; (N, K, h, w) for the output "coarse"."""
        if self.input == "rgb":
            images = (images.float() - self.shift) / self.scale
        logits: Tensor = self.net(images, upsample=self.output != "coarse")["main"]
        # labels need no temperature, and neither does an uncalibrated network
        is_scaled = self.temperature != 1 and self.output == "logits"
        return logits / self.temperature if is_scaled else logits

    def forward(self, images: Tensor) -> Tensor:
        logits = self.logits(images)
        return logits.argmax(dim=1).to(torch.int32) if self.output == "labels" else logits

    def example(self, size: tuple[int, int], batch: int = 1) -> Tensor:
        """Returns example inputs (batch, 3, height, width).

        Their colors are smooth, as in a scene: on noise, the two largest logits of many pixels are
        almost equal, so that rounding would change labels.
        """
        generator = torch.Generator().manual_seed(EXAMPLE_SEED)
        colors = torch.rand(batch, 3, 5, 9, generator=generator)
        images = F.interpolate(colors, size=size, mode="bicubic").clamp(0, 1)
        return self.as_input(255 * images)

    def as_input(self, images: Tensor) -> Tensor:
        """Converts RGB images (N, 3, H, W) in [0, 255] to the module's input."""
        if self.input == "rgb":
            return images.to(torch.uint8)
        return (images - self.shift) / self.scale


def trace(module: ExportModule, size: tuple[int, int], open_axes: Sequence[int],
          name: str) -> ExportedProgram:
    """Traces a module at a size of images.

    Args:
        open_axes: of the input (N, 3, H, W), those whose length is left open.
        name: names the network in errors.

    Raises:
        ValueError: a side is below `SMALLEST`, or the network cannot be traced.
    """
    if min(size) < SMALLEST:
        raise ValueError(f"--size {size[0]}x{size[1]}: an exported graph cannot pad, and a side "
                         f"below {SMALLEST} leaves nothing at the network's coarsest stride. Give "
                         f"at least {SMALLEST}x{SMALLEST}, and pad smaller images before "
                         "prediction, as utils/evaluation/predictor.py does.")
    # The tracer makes a side of length 1 constant, so an open batch size is traced with 2 images.
    example = module.example(size, batch=2 if 0 in open_axes else 1)
    open_sides = dict.fromkeys(open_axes, Dim.DYNAMIC) or None
    try:
        with torch.no_grad():
            return torch.export.export(module, (example,), dynamic_shapes=(open_sides,),
                                       strict=False)
    except (RuntimeError, ValueError, AssertionError) as error:
        hint = "; a fixed size (without --dynamic) may do" if open_axes else ""
        reason = in_a_line(error, whole=False)
        raise ValueError(f"{name} cannot be exported: {reason}{hint}") from error


class Difference(NamedTuple):
    """How far the outputs of a file are from those of the network.

    Attributes:
        largest: largest difference of two logits, as a fraction of the largest absolute logit. If
            the file returns labels, the difference between the largest logit of a pixel and the
            logit of the returned label.
        equal: fraction of equal labels.
    """

    largest: float
    equal: float

    def within(self, tolerance: Tolerance) -> bool:
        """Returns whether both values are within the tolerance."""
        return self.equal >= tolerance.equal and self.largest <= tolerance.largest


def compare(expected: Tensor, output: Tensor) -> Difference:
    """Compares the output of a file with the network's logits.

    Args:
        expected: logits (N, K, H, W) of the network.
        output: logits (N, K, H, W) or labels (N, H, W) of the file.
    """
    output = output.to(expected.device)
    labels = expected.argmax(dim=1)
    if output.ndim == expected.ndim:
        gap = (output - expected).abs().max()
        output_labels = output.argmax(dim=1)
    else:
        output_labels = output
        chosen = expected.gather(1, output.long()[:, None])[:, 0]
        gap = (expected.amax(dim=1) - chosen).max()
    equal = (output_labels == labels).float().mean()
    return Difference(float(gap / expected.abs().max()), float(equal))
