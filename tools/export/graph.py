"""What is exported: a network from images to labels or logits, as one graph; and its comparison
with the network.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

INPUTS = ("normalized", "rgb")
OUTPUTS = ("labels", "logits")
# a side of the image: the coarsest stride
SMALLEST = 32
CHECK_SEED = 0


class Tolerance(NamedTuple):
    """How far a runtime may be from the network: share of equal labels; difference of logits, over
    the largest.
    """

    equal: float
    largest: float


EXACT = Tolerance(0.999, 1e-3)
# on training images; what it costs, only a score can tell
INT8 = Tolerance(0.9, 0.5)


class Graph(nn.Module):
    """A deployed network with what its users would have to write around it.

    Args:
        takes: "normalized", (N, 3, H, W) float32 that is (RGB / 255 - mean) / std, or "rgb", (N, 3,
            H, W) uint8.
        gives: "labels", (N, H, W) int32, or "logits", (N, K, H, W) float32 at the image's size.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, net: nn.Module, mean: Sequence[float], std: Sequence[float], takes: str, gives: str
    ) -> None:
        super().__init__()
        self.net = net
        self.takes, self.gives = takes, gives
        self.register_buffer("shift", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 255 * torch.tensor(std).view(1, 3, 1, 1))
        self.eval()

    def logits(self, images: Tensor) -> Tensor:
        if self.takes == "rgb":
            images = (images.float() - self.shift) / self.scale
        logits: Tensor = self.net(images)["main"]
        return logits

    def forward(self, images: Tensor) -> Tensor:
        logits = self.logits(images)
        return logits.argmax(dim=1).to(torch.int32) if self.gives == "labels" else logits

    def example(self, size: tuple[int, int], batch: int = 1) -> Tensor:
        """Returns images that it takes: smooth colors, as a scene has them and noise has not."""
        generator = torch.Generator().manual_seed(CHECK_SEED)
        colors = torch.rand(batch, 3, 5, 9, generator=generator)
        return self.taken(F.interpolate(colors, size=size, mode="bicubic").clamp(0, 1) * 255)

    def taken(self, images: Tensor) -> Tensor:
        """Returns RGB images (N, 3, H, W) in [0, 255] as it takes them."""
        return images.to(torch.uint8) if self.takes == "rgb" else (images - self.shift) / self.scale


def program(graph: Graph, size: tuple[int, int], dynamic: bool, what: str) -> ExportedProgram:
    """Traces the graph at a size of images, or with batch, height and width left open.

    Args:
        what: names the network in errors.

    Raises:
        ValueError: a side is below `SMALLEST`, or the network cannot be traced; the message says
            why.
    """
    if min(size) < SMALLEST:
        raise ValueError(
            f"--size {size[0]}x{size[1]}: an exported graph cannot pad, and a side below "
            f"{SMALLEST} leaves nothing at the network's coarsest stride. Give at least "
            f"{SMALLEST}x{SMALLEST}, and pad smaller pictures before they go in, as "
            "utils/evaluation/predictor.py does."
        )
    # A tracer takes a side of one for a constant, so two images stand for an open batch.
    example = graph.example(size, batch=2 if dynamic else 1)
    open_sides = dict.fromkeys((0, 2, 3), Dim.DYNAMIC) if dynamic else None
    try:
        with torch.no_grad():
            return torch.export.export(
                graph, (example,), dynamic_shapes=(open_sides,), strict=False
            )
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        hint = "; a fixed size (without --dynamic) may do" if dynamic else ""
        raise ValueError(f"{what} cannot be exported: {reason}{hint}") from error


class Difference(NamedTuple):
    """How far a runtime is from the network: the largest difference of logits, over the largest
    logit, and the share of equal labels. Of labels alone, the difference is by how much the network
    prefers its own.
    """

    largest: float
    equal: float

    def within(self, tolerance: Tolerance) -> bool:
        return self.equal >= tolerance.equal and self.largest <= tolerance.largest


def compare(expected: Tensor, found: Tensor) -> Difference:
    """Compares what was found, logits (N, K, H, W) or labels (N, H, W), with the network's logits
    (N, K, H, W).
    """
    found = found.to(expected.device)
    labels = expected.argmax(dim=1)
    if found.ndim == expected.ndim:
        gap, found = (found - expected).abs().max(), found.argmax(dim=1)
    else:
        chosen = expected.gather(1, found.long()[:, None])[:, 0]
        gap = (expected.amax(dim=1) - chosen).max()
    return Difference(float(gap / expected.abs().max()), float((found == labels).float().mean()))
