"""The start of a run: its description in the log, and what is inspected in its first steps, the
memory of a step and the augmented images.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.batches import Batch, denormalize, split
from utils.machine import GB, peak_memory, reset_peak
from utils.precision import autocast, why_no_cuda
from utils.training.micro_batches import MicroBatches, sum_of
from utils.training.options import RunOptions
from utils.training.recovery import without_trace
from utils.training.teacher import Normalization, Teacher
from utils.visualization import label_maps

log = logging.getLogger("train")

PICTURE_STEPS = 4               # of --dump_augmentation_images
# tensors that an optimizer keeps for each parameter
STATE_TENSORS = {torch.optim.SGD: 1, torch.optim.Adam: 2, torch.optim.AdamW: 2}

# called with a batch and the number of steps done
Inspection = Callable[[Batch, int], None]


def log_description(options: RunOptions, net: nn.Module, *, dataset: str, images: int,
                    total_steps: int, device: torch.device, precision: str,
                    notes: Iterable[str], warnings: Iterable[str]) -> None:
    """Describes a run in its log.

    Args:
        dataset: its name or its YAML file.
        images: number of training images.
        total_steps: number of steps of the run.
        precision: "fp32", "bf16" or "fp16".
        notes: further lines.
        warnings: about the training images.
    """
    log.info("%s (%.2f M parameters) on %s, %s on %s: %d images, %d steps of %s, in %s",
             options.flags["arch"], sum(weight.numel() for weight in net.parameters()) / 1e6,
             dataset, precision, device.type, images, total_steps, options.batching.describe(),
             options.run.folder)
    if device.type == "cpu" and (reason := why_no_cuda()):
        log.info("  no GPU is used: %s", reason)
    for line in (*options.batching.notes(), *notes):
        log.info(line)
    for warning in warnings:
        log.warning("%s", warning)


class MemoryEstimate:
    """Runs forward and backward of the first micro-batch once, without effect, and logs the peak.

    The optimizer's state, which the first step creates, is added to the measured peak.

    Args:
        model: the network, perhaps in DDP.
        precision: "fp32", "bf16" or "fp16", of the forward pass.
        teacher: its outputs join those of the network.
    """

    def __init__(self, model: nn.Module, micro_batches: MicroBatches,
                 optimizer: torch.optim.Optimizer, *, device: torch.device, precision: str,
                 teacher: Teacher | None = None) -> None:
        self.model = model
        self.micro_batches = micro_batches
        self.optimizer = optimizer
        self.device = device
        self.precision = precision
        self.teacher = teacher
        self.is_done = False

    def __call__(self, batch: Batch, step: int) -> None:
        if self.is_done:
            return
        self.is_done = True
        reset_peak(self.device)
        self.dry_run(batch)
        peak = peak_memory(self.device) / GB + optimizer_state_size(self.optimizer)
        if self.device.type == "cuda":
            available = torch.cuda.mem_get_info(self.device)[1] / GB
            log.info("a step needs about %.2f GB of the GPU's %.1f GB", peak, available)
        else:
            log.info("a step brings this process to about %.2f GB, its loader's workers not "
                     "counted", peak)

    def dry_run(self, batch: Batch) -> None:
        """Runs forward and backward of a batch's first micro-batch, and undoes what they change."""
        first = split(batch, self.micro_batches.accumulate)[0]
        self.model.train()
        with without_trace(self.model, self.device):
            prepared = self.micro_batches.prepare(first)
            with autocast(self.device, self.precision):
                outputs = self.model(prepared["image"], upsample=False)
            if self.teacher:
                outputs |= self.teacher(prepared["image"])
            sum_of(self.micro_batches.criterion(outputs, prepared["label"])).backward()


def optimizer_state_size(optimizer: torch.optim.Optimizer) -> float:
    """Returns the size, in GB, of the state that the optimizer creates in its first step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    return STATE_TENSORS.get(type(optimizer), 2) * size / GB


class AugmentedImages:
    """Writes images and labels of the first steps, as the network sees them, into `augmented/`.

    Labels that are no maps, those of a classifier, are not drawn.

    Args:
        folder: the run's folder.
        prepare: a batch of the loader -> the same on the device, normalized.
        normalization: mean and standard deviation, to undo it.
        spec: the dataset, whose `palette` colors the labels.
    """

    def __init__(self, folder: Path, prepare: Callable[[Batch], Batch],
                 normalization: Normalization, spec: Any) -> None:
        self.folder = folder
        self.prepare = prepare
        self.normalization = normalization
        self.spec = spec
        self.steps_left = PICTURE_STEPS

    def __call__(self, batch: Batch, step: int) -> None:
        if not self.steps_left:
            return
        self.steps_left -= 1
        prepared = self.prepare(batch)
        images = denormalize(prepared["image"], *self.normalization)
        pictures = list(images.permute(0, 2, 3, 1).cpu().numpy())
        if prepared["label"].shape[1:] == images.shape[2:]:
            labels = prepared["label"].to(torch.uint8).cpu().numpy()
            sheet = label_maps.sheet(pictures, labels, batch["name"], self.spec.palette)
        # an image with a single label, which its name tells
        else:
            titled = list(zip(batch["name"], pictures, strict=True))
            sheet = label_maps.panels(titled, columns=min(4, len(titled)))
        path = self.folder / "augmented" / f"step_{step}.png"
        label_maps.write(path, sheet)
        log.info("what the network sees: %s", path)
