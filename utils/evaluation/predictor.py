"""A network ready for prediction: evaluation mode, precision, normalization and inference mode."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.backends.graph import EXACT, HALF, compare
from utils.backends.runtimes import TORCH, Runtime
from utils.batches import normalize
from utils.evaluation.confidence import MEASURES, Confidence
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.label_map import label_map
from utils.precision import autocast, move, require_compiler
from utils.resizing import resize

log = logging.getLogger(__name__)

# the coarsest stride of the networks, in pixels: shorter sides are padded to it
MIN_SIDE = 32
# image sizes that have a compiled program each, which takes a minute to compile
MAX_STATIC_SIZES = 2
# shapes of images that have a CUDA graph each
MAX_GRAPHS = 8
SEVERAL_VIEWS = ("an average over several views (--scales, --flip, or windows of --inference_mode "
                 "sliding smaller than the image)")
# torch captures one CUDA graph at a time in a process
CAPTURE_LOCK = threading.Lock()


class Predictor:
    """Predicts the classes of uint8 images with a network.

    The network is moved to the device, and each call leaves it in evaluation mode.

    Args:
        net: returns logits (N, K, h, w) at its own stride as `net(images, upsample=False)["main"]`.
            `network.fuse_for_inference` makes it faster.
        precision: "fp32", "bf16" or "fp16", of the network; logits and probabilities are always
            float32.
        mean, std: of RGB in [0, 1], as in the network's training.
        channels_last: memory layout of images and features.
        inference: windows, scales and flips; by default whole images at their own size.
        compiled: use `torch.compile`. On a CPU the weights become constants of the program, so they
            must not change afterwards. The first image of a size takes a minute: see `warm_up`.
        temperature: by which logits are divided for probabilities (see `tools.calibrate`); it
            changes no label.
        graphs: run the network as a CUDA graph, which starts all its kernels at once. A graph
            belongs to one shape of images, and is captured when the shape comes the second time;
            weights may change in place only.
        runtime: runs the network in place of torch; unless it is verified, it is compared with
            torch on the first images.

    Attributes:
        backend: what runs the network, "torch" or a runtime with its version.
        returns_labels: the runtime returns labels, from which no confidence can be computed, and no
            average over several views; methods that need logits raise ValueError.

    Raises:
        ValueError: `compiled` without a compiler for the device, `graphs` without a CUDA device or
            with a runtime, or scales or flips with a runtime that returns labels.
    """

    def __init__(self, net: nn.Module, device: torch.device, precision: str, mean: Sequence[float],
                 std: Sequence[float], channels_last: bool = False,
                 inference: InferenceOptions | None = None, *, temperature: float = 1.0,
                 compiled: bool = False, graphs: bool = False,
                 runtime: Runtime | None = None) -> None:
        move(net, device, channels_last)
        self.net = net
        self.device = device
        self.precision = precision
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = channels_last
        self.inference = inference or InferenceOptions("whole")
        self.temperature = temperature
        self._network: Callable[[Tensor], Tensor] = self._forward
        if compiled and device.type == "cpu":
            self._network = _FrozenProgram(self._forward)
        elif compiled:
            require_compiler("--compile", device)
            self._network = torch.compile(self._forward)
        self.backend = TORCH
        self.returns_labels = runtime is not None and runtime.returns_labels
        if runtime is not None:
            self.backend = str(runtime)
            first = self._in_runtime if runtime.verified else self._first_in_runtime
            self._network = partial(first, runtime)
        if self.inference.flip or tuple(self.inference.scales) != (1.0,):
            # windows depend on the size of the image
            self.require_logits(SEVERAL_VIEWS)
        if graphs and device.type != "cuda":
            raise ValueError(f"CUDA graphs need a CUDA device, but this runs on {device.type}: "
                             "leave them out.")
        if graphs and runtime is not None:
            raise ValueError(f"CUDA graphs are torch's, but {runtime} runs the network: "
                             "leave them out.")
        if graphs:
            self._network = _GraphPerShape(self._network)

    def labels(self, images: Tensor) -> Tensor:
        """Predicts label maps.

        Args:
            images: (N, 3, H, W) uint8 RGB, on any device.

        Returns:
            (N, H, W) uint8 train ids on the predictor's device.

        Raises:
            ValueError: the images have another shape or type.
        """
        with torch.inference_mode():
            height, width = images.shape[-2:]
            prepared = self._prepare(images)
            if self.returns_labels and self.inference.is_one_view(*prepared.shape[-2:]):
                labels = self._network(prepared).to(torch.uint8)
            else:
                labels = self.inference.labels(self._coarse_logits, prepared)
            return labels[:, :height, :width]

    def probabilities(self, images: Tensor) -> Tensor:
        """Predicts class probabilities (N, K, H, W) float32 of (N, 3, H, W) uint8 RGB."""
        self.require_logits("a map of probabilities")
        with torch.inference_mode():
            prepared = self._prepare(images)
            probabilities = self.inference.probabilities(self._coarse_logits, prepared,
                                                         self.temperature)
            return probabilities[..., :images.shape[-2], :images.shape[-1]]

    def confidence(self, images: Tensor, measures: Sequence[str] = MEASURES) -> Confidence:
        """Predicts label maps as `labels` does, and the confidence at each pixel.

        The probabilities are not held at the size of the images unless several views are averaged.

        Args:
            images: (N, 3, H, W) uint8 RGB, on any device.
            measures: some of `utils.evaluation.confidence.MEASURES`.
        """
        self.require_logits("a map of confidence")
        with torch.inference_mode():
            height, width = images.shape[-2:]
            labels, maps = self.inference.confidence(self._coarse_logits, self._prepare(images),
                                                     self.temperature, measures)
            return Confidence(labels[:, :height, :width],
                              {name: values[:, :height, :width] for name, values in maps.items()})

    def image_confidence(self, image: np.ndarray, measures: Sequence[str] = MEASURES
                         ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Predicts one image, (H, W, 3) uint8 RGB, as `confidence` does.

        Returns:
            The train ids (H, W), and measure -> map (H, W) float32; no map if `returns_labels`.
        """
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        if self.returns_labels:
            return self.labels(batch)[0].cpu().numpy(), {}
        labels, maps = self.confidence(batch, measures)
        return labels[0].cpu().numpy(), {name: values[0].cpu().numpy()
                                         for name, values in maps.items()}

    def logits(self, images: Tensor) -> Tensor:
        """Predicts logits (N, K, H, W) float32 of whole images (N, 3, H, W) uint8 RGB.

        The inference mode, its scales and flips, and the temperature are not used.
        """
        self.require_logits("a map of logits")
        with torch.inference_mode():
            prepared = self._prepare(images)
            # Resized here and not in the network: in half precision, rounding errors would decide
            # between classes with similar logits.
            height, width = prepared.shape[-2:]
            logits = resize(self._coarse_logits(prepared), (height, width))
            return logits[..., :images.shape[-2], :images.shape[-1]]

    def require_logits(self, needed_by: str) -> None:
        """Raises ValueError if the network returns labels; `needed_by` is a flag or an output."""
        if self.returns_labels:
            raise ValueError(f"{needed_by} needs logits, and this exported file returns labels: "
                             "export the network with --output coarse")

    def run_network(self, images: Tensor) -> None:
        """Runs `net` in torch on whole images (N, 3, H, W) uint8 RGB, for hooks on its modules."""
        with torch.inference_mode():
            self.net.eval()
            self._forward(self._prepare(images))

    def warm_up(self, size: tuple[int, int], batch: int = 1) -> None:
        """Predicts two black batches of (height, width), which compiles, selects kernels and
        captures a CUDA graph.
        """
        for _ in range(2):
            self.labels(torch.zeros(batch, 3, *size, dtype=torch.uint8, device=self.device))

    def labels_of_normalized(self, images: Tensor) -> Tensor:
        """Predicts label maps (N, H, W) uint8 of whole, normalized float32 images on the device."""
        with torch.inference_mode():
            return label_map(self._coarse_logits(images), (images.shape[-2], images.shape[-1]))

    def _prepare(self, images: Tensor) -> Tensor:
        """Moves images to the device, normalizes them and pads their sides to `MIN_SIDE`.

        The padding repeats the last row and column.

        Raises:
            ValueError: the images have another shape or type.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError("images must be (N, 3, height, width) uint8 RGB, "
                             f"not {tuple(images.shape)} {images.dtype}.")
        moved = images.to(self.device, non_blocking=True)
        prepared = normalize(moved, self.mean, self.std, self.channels_last)
        bottom, right = (max(0, MIN_SIDE - side) for side in images.shape[-2:])
        if bottom or right:
            return F.pad(prepared, (0, right, 0, bottom), mode="replicate")
        return prepared

    def _coarse_logits(self, images: Tensor) -> Tensor:
        """Returns float32 logits at the head's own stride."""
        self.require_logits(SEVERAL_VIEWS)
        # a training loop may have switched to training mode in between
        self.net.eval()
        if self.channels_last and self.backend == TORCH:
            # a batch of windows has lost the layout
            images = images.contiguous(memory_format=torch.channels_last)
        return self._network(images)

    def _first_in_runtime(self, runtime: Runtime, images: Tensor) -> Tensor:
        """Runs the first images in a runtime and in torch; from then on, one of them runs.

        Raises:
            ValueError: the runtime computes something else, and torch must not take over.
        """
        logits = runtime.run(images)
        if logits is None:
            return self._forward(images)
        expected: Tensor = self.net(images, upsample=False)["main"]
        tolerance = EXACT if self.precision == "fp32" else HALF
        difference = compare(expected, logits)
        if difference.within(tolerance):
            log.info("%s agrees with torch on the first image: %.2f %% equal labels", runtime,
                     100 * difference.equal)
            self._network = partial(self._in_runtime, runtime)
            return logits
        found = (f"{runtime} differs from torch on the first image: {100 * difference.equal:.2f} % "
                 f"equal labels, logits off by {difference.largest:.1e} of the largest")
        if not runtime.replaceable:
            raise ValueError(f"{found}: give --backend {TORCH}")
        log.warning("%s; backend %s runs in its place", found, TORCH)
        self.backend, self._network = TORCH, self._forward
        return self._coarse_logits(images)

    def _in_runtime(self, runtime: Runtime, images: Tensor) -> Tensor:
        logits = runtime.run(images)
        return self._forward(images) if logits is None else logits

    def _forward(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.net(images, upsample=False)["main"]
        return logits.float()


class _GraphPerShape:
    """A function of one tensor as CUDA graphs: one for each shape that comes again.

    Shapes that come once, or after the first `MAX_GRAPHS`, run without a graph. If a shape without
    a graph does not fit into the memory beside the graphs, all graphs are dropped. A new graph is
    compared with the function.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._seen: set[torch.Size] = set()
        self._graphs: dict[torch.Size, _CudaGraph] = {}
        self._is_usable = True
        # one graph runs at a time, so all use the same memory, which belongs to one stream
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        # threads would overwrite each other's input
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> Tensor:
        with self._lock:
            graph = self._graphs.get(images.shape)
            if graph is None and self._is_usable and images.shape in self._seen:
                graph = self._capture(images)
            if graph is not None:
                return graph(images)
            result = self._run(images)
            # after the run, which raises an error if the images do not fit into the memory
            self._seen.add(images.shape)
            return result

    def _run(self, images: Tensor) -> Tensor:
        """Runs the function without a graph."""
        try:
            return self._function(images)
        except torch.OutOfMemoryError:
            if not self._graphs:
                raise
        # not in the handler, whose error keeps the tensors of the first attempt
        log.warning("the memory is too small for %dx%d images beside the CUDA graphs: all images "
                    "run without graphs from now on, which takes longer", *images.shape[-2:])
        self._graphs.clear()
        self._is_usable = False
        return self._function(images)

    def _capture(self, images: Tensor) -> _CudaGraph | None:
        """Returns the graph of a shape; None if there are enough, or from the first failure on."""
        if len(self._graphs) >= MAX_GRAPHS:
            return None
        try:
            if self._stream is None:
                self._pool = torch.cuda.graph_pool_handle()
                self._stream = torch.cuda.Stream(images.device)
            with CAPTURE_LOCK:
                graph = _CudaGraph(self._function, images, self._pool, self._stream)
            # with other pixels than those of the capture
            if not compare(self._function(-images), graph(-images)).within(HALF):
                raise RuntimeError("its results differ")
        except RuntimeError as error:
            log.warning("cannot use a CUDA graph for %dx%d images (%s): these and other new "
                        "shapes run without one, which takes longer", *images.shape[-2:],
                        str(error).splitlines()[0])
            self._is_usable = False
            return None
        return self._graphs.setdefault(images.shape, graph)


class _CudaGraph:
    """A function of one tensor as a CUDA graph, captured once and replayed with new input.

    Args:
        pool: the memory that it shares with other graphs, from `torch.cuda.graph_pool_handle`.
        stream: the stream of the capture, the same for all graphs of a pool.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor, pool: Any,
                 stream: torch.cuda.Stream) -> None:
        self.input = example.clone()
        self.graph = torch.cuda.CUDAGraph()
        # another GPU may be the current one, whose streams would capture nothing
        with torch.cuda.device(example.device):
            current = torch.cuda.current_stream()
            stream.wait_stream(current)
            # libraries select their kernels before the capture
            with torch.cuda.stream(stream):
                for _ in range(3):
                    function(self.input)
            current.wait_stream(stream)
            # meanwhile, the thread that pins batches may use the GPU
            with torch.cuda.graph(self.graph, pool, stream, capture_error_mode="thread_local"):
                self.output = function(self.input)

    def __call__(self, images: Tensor) -> Tensor:
        self.input.copy_(images)
        self.graph.replay()
        # the next replay overwrites the output
        return self.output.clone()


class _FrozenProgram:
    """A function of one tensor, compiled for a CPU with the weights as constants.

    A program that is compiled for a single size arranges the weights in memory once; a program for
    any size arranges them again for each image. The first `MAX_STATIC_SIZES` sizes have a program
    each, and all other sizes share a dynamic one.

    Raises:
        ValueError: there is no C++ compiler.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        require_compiler("--compile")
        self._static = torch.compile(function, dynamic=False)
        self._dynamic = torch.compile(function, dynamic=True)
        self._static_sizes: set[torch.Size] = set()

    def __call__(self, images: Tensor) -> Tensor:
        if len(self._static_sizes) < MAX_STATIC_SIZES:
            self._static_sizes.add(images.shape)
        program = self._static if images.shape in self._static_sizes else self._dynamic
        # Patched around the call: an option of torch.compile is applied after the weights have
        # become inputs, which is too late.
        with torch._inductor.config.patch(freezing=True):
            return program(images)
