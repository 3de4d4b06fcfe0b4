"""One network, ready to parse pictures: evaluation mode, precision, normalization and inference mode in one place."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from os import environ

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.batches import normalize
from utils.evaluation.inference import Inference
from utils.evaluation.label_map import label_map
from utils.precision import autocast

SMALLEST = 32                                               # a side below it is padded: the coarsest stride
OWN_PROGRAM = 2                                             # sizes worth a minute of compiling and their own weights


class Predictor:
    """Parses uint8 images with a network, which it moves to the device; each call leaves it in evaluation mode.

    Args:
        net: gives `net(images, upsample=False)["main"]`, logits (N, K, h, w) at its own stride. `network.fuse_for_inference`
            makes it faster.
        precision: "fp32", "bf16" or "fp16", of the network; logits and probabilities are float32 in any case.
        mean, std: of RGB in [0, 1], those that the network was trained with.
        inference: windows, scales and mirroring; whole images at their own size when None.
        compiled: whether torch.compile turns the network into a program; on a CPU with the weights in it, so that they
            must not change any more. The first image of a size then takes a minute: see `warm_up`.
        graphs: whether whole images at one scale replay a CUDA graph, captured at the first image of each shape.

    Raises:
        ValueError: `compiled` where the CPU has no C++ compiler, or `graphs` without a CUDA device.
    """

    def __init__(self, net: nn.Module, device: torch.device, precision: str, mean: Sequence[float],
                 std: Sequence[float], channels_last: bool = False, inference: Inference | None = None, *,
                 compiled: bool = False, graphs: bool = False) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(device).to(memory_format=layout)
        self.device = device
        self.precision = precision
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = channels_last
        self.inference = inference or Inference("whole")
        self._network: Callable[[Tensor], Tensor] = self._forward
        if compiled:
            self._network = _Frozen(self._forward) if device.type == "cpu" else torch.compile(self._forward)
        if graphs and device.type != "cuda":
            raise ValueError(f"CUDA graphs need a CUDA device, but this runs on {device.type}: leave them out.")
        self._graphs: dict[torch.Size, _Graph] | None = {} if graphs else None

    def labels(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB, on any device, into train ids (N, H, W) uint8 on the predictor's device."""
        with torch.inference_mode():
            height, width = images.shape[-2:]
            prepared = self._prepare(images)
            if self._graphs is not None and self.inference.is_one_view(prepared.shape[-2], prepared.shape[-1]):
                labels = self._one_view(prepared)
            else:
                labels = self.inference.labels(self._coarse, prepared)
            return labels[:, :height, :width]

    def probabilities(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB into the classes' probabilities (N, K, H, W), float32."""
        with torch.inference_mode():
            found = self.inference.probabilities(self._coarse, self._prepare(images))
            return found[..., :images.shape[-2], :images.shape[-1]]

    def logits(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) uint8 RGB, whole and at its own size, into float32 logits (N, K, H, W)."""
        with torch.inference_mode():
            prepared = self._prepare(images)
            # Resized here and not in the network: in half precision, rounding would decide between near classes.
            logits = F.interpolate(self._coarse(prepared), size=prepared.shape[-2:], mode="bilinear",
                                   align_corners=True)
            return logits[..., :images.shape[-2], :images.shape[-1]]

    def warm_up(self, size: tuple[int, int], batch: int = 1) -> None:
        """Parses two black batches of (height, width): compiling, capturing and choosing kernels is then done."""
        for _ in range(2):
            self.labels(torch.zeros(batch, 3, *size, dtype=torch.uint8, device=self.device))

    def labels_of_normalized(self, images: Tensor) -> Tensor:
        """Parses (N, 3, H, W) float32, normalized and on the device, whole, into train ids (N, H, W) uint8."""
        with torch.inference_mode():
            return self._one_view(images)

    def _prepare(self, images: Tensor) -> Tensor:
        """Moves, pads up to `SMALLEST` by the last row and column, and normalizes."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError("images must be (N, 3, height, width) uint8 RGB, "
                             f"not {tuple(images.shape)} {images.dtype}.")
        prepared = normalize(images.to(self.device, non_blocking=True), self.mean, self.std, self.channels_last)
        missing = [max(0, SMALLEST - side) for side in images.shape[-2:]]
        return F.pad(prepared, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else prepared

    def _one_view(self, images: Tensor) -> Tensor:
        if self._graphs is None:
            return self._whole(images)
        graph = self._graphs.get(images.shape)
        if graph is None:
            graph = self._graphs[images.shape] = _Graph(self._whole, images)
        return graph(images)

    def _whole(self, images: Tensor) -> Tensor:
        return label_map(self._coarse(images), (images.shape[-2], images.shape[-1]))

    def _coarse(self, images: Tensor) -> Tensor:
        """Returns float32 logits at the head's own stride."""
        self.net.eval()                                     # a training loop may have switched it in between
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)       # a batch of windows is laid out anew
        return self._network(images)

    def _forward(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.net(images, upsample=False)["main"]
        return logits.float()


class _Graph:
    """A function of one tensor as a CUDA graph: captured once, replayed on what is copied into its input."""

    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor) -> None:
        self.input = example.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):                       # libraries choose their kernels before the capture
            for _ in range(3):
                function(self.input)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = function(self.input)

    def __call__(self, images: Tensor) -> Tensor:
        self.input.copy_(images)
        self.graph.replay()
        return self.output.clone()                          # the next replay writes over the output


class _Frozen:
    """A function of one tensor as programs for a CPU, each with the weights in it, in the layout and type it wants.

    A program of one size has them laid out beforehand; that for any size does it again with each image. The first
    `OWN_PROGRAM` sizes have one of their own, later ones share one.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        require_compiler("--compile")
        self._of_one_size, self._of_any_size = (torch.compile(function, dynamic=any_size) for any_size in (False, True))
        self._sizes: set[torch.Size] = set()

    def __call__(self, images: Tensor) -> Tensor:
        if len(self._sizes) < OWN_PROGRAM:
            self._sizes.add(images.shape)
        program = self._of_one_size if images.shape in self._sizes else self._of_any_size
        # Patched around the call: as an option of torch.compile it comes too late, after the weights became inputs.
        with torch._inductor.config.patch(freezing=True):
            return program(images)


def require_compiler(asker: str) -> None:
    """Raises ValueError, naming who asks, where there is no C++ compiler for torch's own compiler."""
    candidates = [environ["CXX"]] if environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(each) for each in candidates):
        raise ValueError(f"{asker} needs a C++ compiler, and there is no {' or '.join(candidates)} here: install one "
                         "(for example: apt-get install g++), or name yours in the environment variable CXX.")
