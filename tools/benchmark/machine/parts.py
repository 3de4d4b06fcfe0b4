"""The parts of the measurement, each a generator of rows; see `PARTS`."""
from __future__ import annotations

import gc
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import datasets
import train
from tools import pack_dataset
from tools.benchmark import infer, launchers, loader, memory, models
from tools.benchmark.machine.plan import TRAINING_FLAGS, Plan
from tools.benchmark.machine.worker import Deadline, Part, Row
from tools.benchmark.steps import Steps
from tools.make_streets.writing import make_streets
from utils import machine, precision
from utils.cli import FlagParser
from utils.errors import in_a_line
from utils.precision import PRECISIONS, default_device
from utils.training.micro_batches import sum_of

# repetitions: blocks of products or copies, of which the fastest counts
BLOCKS, PER_BLOCK = 5, 4
# steps after which float16's loss scale has fallen enough, from 2**16
MAX_SCALING_STEPS = 16
# drawn images of the loader's dataset
STREETS = 8


def attempt(row: Row, deadline: Deadline, kind: str, measure: Callable[..., Row],
            *args: Any) -> Row:
    """Returns the row with what `measure` returns, or with an "error" if it raises one.

    One setting that fails must not take the others away. An error of the GPU itself is raised: it
    leaves the process unusable.
    """
    try:
        with deadline.timed(kind):
            return {**row, **measure(*args)}
    except Exception as error:
        if "CUDA error" in str(error):
            raise
        return {**row, "error": in_a_line(error, whole=False)}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# The machine


def facts(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Device and versions."""
    device = default_device()
    yield {"device": machine.device_name(device), "processor": machine.processor(),
           "cores": os.cpu_count(), "threads": torch.get_num_threads(),
           "system": platform.platform(), "python": platform.python_version(),
           "torch": torch.__version__, **gpu_facts(device)}


def gpu_facts(device: torch.device) -> Row:
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {"gpu_memory_gb": round(properties.total_memory / machine.GB, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "gpus": torch.cuda.device_count(), "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version()}


# Rates


def rates(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Operations per second of matrix products, and bytes per second of copies."""
    device = default_device()
    for name in plan.arithmetic:
        row = {"measure": "product", "arithmetic": name, "side": plan.matrix_side}
        yield attempt(row, deadline, "product", product_rate, name, plan.matrix_side, device)
    row = {"measure": "copy", "bytes": plan.copied}
    yield attempt(row, deadline, "copy", copy_rate, plan.copied, device, device)
    if device.type == "cuda":
        row = {"measure": "copy to the GPU", "bytes": plan.copied}
        yield attempt(row, deadline, "copy", copy_rate, plan.copied, torch.device("cpu"), device)


def product_rate(arithmetic: str, side: int, device: torch.device) -> Row:
    """Multiplies square matrices: two operations for each multiplication of numbers."""
    precision.configure(tf32=arithmetic == "tf32", deterministic=False)
    dtype = PRECISIONS.get(arithmetic, torch.float32)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return {"per_second": 2 * side**3 / fastest(lambda: left @ right, device)}


def copy_rate(size: int, source: torch.device, target: torch.device) -> Row:
    """Copies bytes; on one device, each is read and written."""
    is_transfer = source != target
    values = torch.zeros(size, dtype=torch.uint8, device=source, pin_memory=is_transfer)
    copied = torch.empty(size, dtype=torch.uint8, device=target)
    seconds = fastest(lambda: copied.copy_(values, non_blocking=True), target)
    return {"per_second": (size if is_transfer else 2 * size) / seconds}


def fastest(operation: Callable[[], Tensor], device: torch.device) -> float:
    """Returns the seconds of an operation in the fastest of some blocks."""
    operation()
    times = []
    for _ in range(BLOCKS):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(PER_BLOCK):
            operation()
        synchronize(device)
        times.append((time.perf_counter() - start) / PER_BLOCK)
    return min(times)


# Agreement with float32


def agreement(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Relative differences of loss and gradient of one step from those in float32."""
    device = default_device()
    for run in plan.compared_runs:
        expected = loss_and_gradient(run, "fp32", plan, device)
        for arithmetic in (name for name in plan.arithmetic if name != "fp32"):
            if deadline.allows("step"):
                row = {"run": run, "arithmetic": arithmetic}
                yield attempt(row, deadline, "step", differences, expected, run, arithmetic, plan,
                              device)


def loss_and_gradient(run: str, arithmetic: str, plan: Plan,
                      device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the loss, a scalar, and the gradient of all weights, a vector, of the first step."""
    # many images: the batch norm of a cell of the pooling sees one value for each
    options = training_options(run, arithmetic, plan.compared_crop, plan.images)
    steps = Steps(options, device)
    for _ in range(MAX_SCALING_STEPS):
        # the same dropout masks in every arithmetic
        torch.manual_seed(0)
        # a search would take longer than the step
        with precision.without_kernel_search():
            terms = steps.train_step(steps.batch).terms or {}
        gradient = torch.cat([parameter.grad.flatten() for parameter in steps.net.parameters()
                              if parameter.grad is not None])
        # float16 overflows at first, and lowers its loss scale without a step
        if gradient.isfinite().all():
            break
    return sum_of(terms), gradient


def differences(expected: tuple[Tensor, Tensor], run: str, arithmetic: str, plan: Plan,
                device: torch.device) -> Row:
    measured = loss_and_gradient(run, arithmetic, plan, device)
    return {name: float((value - reference).norm() / reference.norm()) for name, value, reference
            in zip(("loss", "gradient"), measured, expected, strict=True)}


# Inference


def inference(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Latency of predictions in each setting, and their labels beside those of eager float32."""
    device = default_device()
    cells = [(group, batch) for group in plan.settings for batch in plan.batches]
    for group, batch in cells:
        kind = "compiled" if any("compile" in name for name in group) else "eager"
        for run in plan.runs if (group, batch) == cells[0] else plan.more_runs:
            if deadline.allows(kind):
                yield from predictions(run, batch, group, plan, device, deadline, kind)


def predictions(run: str, batch: int, group: Sequence[str], plan: Plan, device: torch.device,
                deadline: Deadline, kind: str) -> Iterator[Row]:
    """Yields a row for eager float32 and for each setting of a group."""
    arch = launchers.options_of(run).network.arch
    options = infer.Options(
        arch=[arch], snapshot=(), settings=None, exact=False, backend=None, size=plan.image,
        batch=batch, rounds=plan.rounds, warm_up=2, pictures=(), host_copies=False,
        cpu_time=False, memory=False, interleave_networks=True, json=None)
    settings = [infer.Setting(name) for name in (infer.PLAIN, *group)]
    about = {"run": run, "arch": arch, "batch": batch}
    result = attempt(about, deadline, kind, predict, options, settings, device)
    if "error" in result:
        yield {**result, "setting": ", ".join(group)}
    for row in result.get("rows", ()):
        yield {**about, "operations": result["operations"], **row}


def predict(options: infer.Options, settings: Sequence[infer.Setting],
            device: torch.device) -> Row:
    """Returns the "rows" of the settings, and the "operations" of one image."""
    rows = infer.measure_rows(options, settings, device)
    return {"rows": [asdict(row) for row in rows],
            "operations": 2 * models.cost(options.arch[0], options.size).macs}


# Training


def training(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Images per second and memory of training steps; the images are on the device already."""
    device = default_device()
    few = [(plan.training[0], plan.few_images)] if plan.few_images != plan.images else []
    cells = [(plan.training[0], plan.images), *few,
             *((arithmetic, plan.images) for arithmetic in plan.training[1:])]
    for arithmetic, images in cells:
        kind = "compiled" if "compile" in arithmetic else "eager"
        for run in plan.runs if (arithmetic, images) == cells[0] else plan.more_runs:
            if deadline.allows(kind):
                yield time_training(run, arithmetic, images, plan, device, deadline, kind)


def time_training(run: str, arithmetic: str, images: int, plan: Plan, device: torch.device,
                  deadline: Deadline, kind: str) -> Row:
    """Returns the row of a setting, with fewer images if a GPU is too small for so many."""
    while True:
        row = {"run": run, "arithmetic": arithmetic, "images": images, "crop": list(plan.crop)}
        options = training_options(run, arithmetic, plan.crop, images)
        row = attempt(row, deadline, kind, training_speed, options, plan.steps, device)
        # a single image has no batch statistics
        if images <= 2 or not str(row.get("error")).startswith("OutOfMemoryError"):
            return row
        images //= 2


def training_options(run: str, arithmetic: str, crop: Sequence[int], images: int) -> train.Options:
    """Returns the options of a run's launcher, for one process with so many images a step."""
    height, width = crop
    count = str(images)
    return launchers.options_of(run, [
        "--crop_size", f"{height}x{width}", "--bs_mult", count, "--global_batch", count,
        "--accumulate", "1", *TRAINING_FLAGS[arithmetic]])


def training_speed(options: train.Options, count: int, device: torch.device) -> Row:
    torch.compiler.reset()
    steps = Steps(options, device)
    # kernels are chosen, programs compiled, and the optimizer's state is created
    steps.take(1 + count // 3)
    machine.reset_peak(device)
    start = time.perf_counter()
    steps.take(count)
    seconds = (time.perf_counter() - start) / count
    images = options.batching.sizes.global_batch
    return {"arch": options.network.arch, "seconds": seconds, "images_per_second": images / seconds,
            "peak_memory": machine.peak_memory(device)}


def computed_memory(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """What `tools.benchmark memory` computes for the steps that `training` measures."""
    for arithmetic in (name for name in plan.training if name in ("bf16", "fp32")):
        for run in plan.runs if arithmetic == plan.training[0] else plan.more_runs:
            if deadline.allows("step"):
                row = {"run": run, "arithmetic": arithmetic, "images": plan.images}
                options = training_options(run, arithmetic, plan.crop, plan.images)
                yield attempt(row, deadline, "step", computed_peak, options, arithmetic)


def computed_peak(options: train.Options, arithmetic: str) -> Row:
    return {"peak_memory": memory.compute(options, arithmetic).peak}


# Loading


def loading(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Images per second of the loader, from PNG files and from a pack."""
    with loader.single_threaded(), tempfile.TemporaryDirectory() as folder:
        options = loader_options(plan, Path(folder))
        sources = loader.open_sources(options, Path(folder) / "pair")
        # color on the device last
        for name, data in sorted(sources.items(), key=lambda source: "color" in source[0]):
            for workers in reversed(options.num_workers):
                if deadline.allows("loading"):
                    row = {"source": name, "workers": workers}
                    yield attempt(row, deadline, "loading", loading_speed, data, options, workers)


def loading_speed(data: datasets.SegmentationDataset, options: loader.Options,
                  workers: int) -> Row:
    return {"images_per_second": loader.speed(data, options, workers)}


def loader_options(plan: Plan, folder: Path) -> loader.Options:
    """Returns the options of `tools.benchmark loader`, for drawn streets."""
    height, width = plan.crop
    # as many as a training has by default, and one for each other core
    workers = sorted({datasets.default_workers(), max(1, (os.cpu_count() or 1) - 1)})
    words = ["--bs_mult", str(plan.loaded_images), "--batches", str(plan.loaded_batches),
             "--crop_size", f"{height}x{width}", "--num_workers", *map(str, workers)]
    if plan.street:
        root, packed = folder / "streets", folder / "streets_pack"
        make_streets(root, {"train": STREETS, "val": 1}, plan.street, seed=0,
                     workers=datasets.default_workers())
        pack_dataset.pack(datasets.build("streets", str(root), "train"), packed, {},
                          range(STREETS), 0)
        words += ["--dataset", "streets", "--data_root", str(root), "--packed", str(packed)]
    parser = FlagParser()
    loader.add_flags(parser)
    return loader.Options.from_args(parser.parse_args(words))


PARTS: dict[str, Part] = {"machine": facts, "rates": rates, "agreement": agreement,
                          "training": training, "inference": inference, "loading": loading,
                          "memory": computed_memory}
