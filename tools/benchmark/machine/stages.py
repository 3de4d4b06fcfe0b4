"""Where the time of a prediction goes, and how fast each stage could be at the machine's rates."""
from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import network
from datasets.reader import read_image
from network import fuse_for_inference
from network.model import SceneParser
from tools.benchmark import launchers, models
from tools.benchmark.machine.parts import attempt, copy_rate, product_rate, synchronize
from tools.benchmark.machine.plan import Plan
from tools.benchmark.machine.worker import Deadline, Row
from tools.make_streets import draw
from utils import precision
from utils.batches import normalize
from utils.evaluation.label_map import label_map
from utils.precision import autocast, default_device

# of a Cityscapes network
NUM_CLASSES = 19
# operation of torch -> stage of the network; other operations belong to `REST`
PRODUCTS, REST = "convolutions and products", "rest of the network"
WARP, UPSAMPLING = "warp", "upsampling"
STAGES = {"convolution": PRODUCTS, "mm": PRODUCTS, "addmm": PRODUCTS, "bmm": PRODUCTS,
          "grid_sampler_2d": WARP, "cudnn_grid_sampler": WARP, "upsample_bilinear2d": UPSAMPLING}
ARG_MAX, DECODE = "label map: upsampling and arg max", "decoding of a PNG file"


def stages(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Seconds of each stage of one prediction in eager mode, and the least that it could take.

    For convolutions and products that is their operations over the rate of matrix products, for
    other stages the bytes that they read and write over the rate of copies. Both rates are measured
    here.
    """
    device = default_device()
    arithmetic = precision.resolve_precision(None, device)
    products = copies = 0.0
    for run in (run for run in plan.staged_runs if deadline.allows("stages")):
        # again for each network, since other processes may have slowed the first measurement
        products = max(products,
                       product_rate(arithmetic, plan.matrix_side, device)["per_second"])
        copies = max(copies, copy_rate(plan.copied, device, device)["per_second"])
        arch = launchers.options_of(run).network.arch
        about = {"run": run, "arch": arch, "arithmetic": arithmetic,
                 "size": list(plan.staged_image)}
        result = attempt(about, deadline, "stages", predict, arch, arithmetic, plan, device)
        if "error" in result:
            yield result
            continue
        for stage, seconds, moved in result["stages"]:
            limit = moved / copies
            if stage == PRODUCTS:
                limit = 2 * models.cost(arch, plan.staged_image).macs / products
            yield {**about, "stage": stage, "seconds": seconds, "limit": limit}


def predict(arch: str, arithmetic: str, plan: Plan, device: torch.device) -> Row:
    """Returns the "stages": (name, median seconds, bytes read and written) of each."""
    precision.configure(tf32=False, deterministic=False)
    net = network.build(arch, NUM_CLASSES).eval()
    mean, std = net.normalization
    net = fuse_for_inference(net).to(device).to(memory_format=torch.channels_last)
    picture = draw(0, 0, plan.staged_image)[0]
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(device)
    images = normalize(pixels, mean, std, channels_last=True)
    with torch.no_grad(), tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "street.png"
        cv2.imwrite(str(path), picture[..., ::-1])
        # in the first round kernels are chosen, and memory is allocated
        _, *clocks = [time_stages(net, images, path, arithmetic, device)
                      for _ in range(1 + plan.rounds)]
    return {"stages": [(stage, statistics.median(clock.seconds[stage] for clock in clocks), moved)
                       for stage, moved in clocks[0].moved.items()]}


def time_stages(net: SceneParser, images: Tensor, path: Path, arithmetic: str,
                device: torch.device) -> StageClock:
    """Predicts images, and reads an image file; returns the clock of it."""
    with autocast(device, arithmetic), StageClock(device) as clock:
        logits = net(images, upsample=False)["main"].float()
    seconds, labels = timed(lambda: label_map(logits, (images.shape[2], images.shape[3])), device)
    clock.add(ARG_MAX, seconds, num_bytes(logits) + num_bytes(labels))
    seconds, picture = timed(lambda: read_image(path), device)
    clock.add(DECODE, seconds, path.stat().st_size + picture.nbytes)
    return clock


class StageClock(TorchDispatchMode):
    """Adds up the seconds and the bytes of torch's operations by stage.

    Attributes:
        seconds: stage -> seconds.
        moved: stage -> bytes of the operations' tensors, those that are read and those written.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.moved: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (),
                           kwargs: Any = None) -> Any:
        stage = STAGES.get(function.overloadpacket.__name__, REST)
        seconds, result = timed(lambda: function(*args, **(kwargs or {})), self.device)
        # a view moves nothing
        self.add(stage, seconds, 0 if function.is_view else num_bytes(args) + num_bytes(result))
        return result

    def add(self, stage: str, seconds: float, moved: int) -> None:
        self.seconds[stage] += seconds
        self.moved[stage] += moved


def timed(operation: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Returns the seconds of an operation, and its result."""
    synchronize(device)
    start = time.perf_counter()
    result = operation()
    synchronize(device)
    return time.perf_counter() - start, result


def num_bytes(values: Any) -> int:
    """Returns the bytes of a tensor, or of all tensors of a list or tuple."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    if isinstance(values, (list, tuple)):
        return sum(num_bytes(value) for value in values)
    return 0
