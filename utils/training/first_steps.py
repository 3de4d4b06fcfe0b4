"""The start of a run: its description in the log, and what is inspected in its first steps, the
memory of a step and the augmented images.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from utils.batches import Batch, denormalize, split
from utils.machine import GB, peak_memory, reset_peak
from utils.precision import autocast, why_no_cuda
from utils.training.micro_batches import sum_of
from utils.training.recovery import without_trace
from utils.visualization import label_maps

log = logging.getLogger("train")

PICTURE_STEPS = 4               # of --dump_augmentation_images
# tensors that an optimizer keeps for each parameter
STATE_TENSORS = {torch.optim.SGD: 1, torch.optim.Adam: 2, torch.optim.AdamW: 2}

# called with a batch and the number of steps done
Inspection = Callable[[Batch, int], None]


def begin(training: Any, weights_note: str) -> list[Inspection]:
    """Describes a run (`train.Training`) in its log; returns the inspections that it asks for.

    Args:
        weights_note: about its initial weights.
    """
    options, parameters = training.options, training.net.parameters()
    log.info("%s (%.2f M parameters) on %s, %s on %s: %d images, %d steps of %s, in %s",
             options.flags["arch"], sum(weight.numel() for weight in parameters) / 1e6,
             training.spec.source or training.spec.name, training.precision, training.device.type,
             len(training.data.train_set), training.intervals.total_steps,
             options.batching.describe(), training.folder)
    if training.device.type == "cpu" and (reason := why_no_cuda()):
        log.info("  no GPU is used: %s", reason)
    notes, plan = options.batching.notes(), training.data.plan
    mean, std = training.net.normalization
    inputs = f"images are normalized with mean {mean} and standard deviation {std}"
    teacher = training.teacher.describe(options.flags) if training.teacher else ()
    for line in (*notes, *plan.describe(training.spec.names), weights_note, inputs, *teacher):
        log.info(line)
    if training.is_main:
        for warning in training.first_look():
            log.warning("%s", warning)
    return inspections(training)


def inspections(training: Any) -> list[Inspection]:
    """Returns the inspections that the flags of a run (`train.Training`) ask for."""
    chosen: list[Inspection] = []
    if training.options.step.memory_estimate:
        chosen.append(MemoryEstimate(training))
    if training.options.run.dump_augmentation_images and training.is_main:
        chosen.append(AugmentedImages(training))
    return chosen


class MemoryEstimate:
    """Runs forward and backward of the first micro-batch once, without effect, and logs the peak.

    The optimizer's state, which the first step creates, is added to the measured peak.
    """

    def __init__(self, training: Any) -> None:
        self.training = training
        self.is_done = False

    def __call__(self, batch: Batch, step: int) -> None:
        if self.is_done:
            return
        self.is_done = True
        device = self.training.device
        reset_peak(device)
        self.dry_run(batch)
        peak = peak_memory(device) / GB + optimizer_state_size(self.training.optimizer)
        if device.type == "cuda":
            available = torch.cuda.mem_get_info(device)[1] / GB
            log.info("a step needs about %.2f GB of the GPU's %.1f GB", peak, available)
        else:
            log.info("a step brings this process to about %.2f GB, its loader's workers not "
                     "counted", peak)

    def dry_run(self, batch: Batch) -> None:
        """Runs forward and backward of a batch's first micro-batch, and undoes what they change."""
        training = self.training
        micro_batches = split(batch, training.micro_batches.accumulate)
        training.model.train()
        with without_trace(training.net, training.device):
            prepared = training.micro_batches.prepare(micro_batches[0])
            with autocast(training.device, training.precision):
                outputs = training.model(prepared["image"], upsample=False)
            if training.teacher:
                outputs |= training.teacher(prepared["image"])
            sum_of(training.criterion(outputs, prepared["label"])).backward()


def optimizer_state_size(optimizer: torch.optim.Optimizer) -> float:
    """Returns the size, in GB, of the state that the optimizer creates in its first step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    return STATE_TENSORS.get(type(optimizer), 2) * size / GB


class AugmentedImages:
    """Writes images and labels of the first steps, as the network sees them, into `augmented/`.

    Labels that are no maps, those of a classifier, are not drawn.
    """

    def __init__(self, training: Any) -> None:
        self.training = training
        self.steps_left = PICTURE_STEPS

    def __call__(self, batch: Batch, step: int) -> None:
        if not self.steps_left:
            return
        self.steps_left -= 1
        spec = self.training.spec
        prepared = self.training.micro_batches.prepare(batch)
        images = denormalize(prepared["image"], *self.training.net.normalization)
        pictures = list(images.permute(0, 2, 3, 1).cpu().numpy())
        if prepared["label"].shape[1:] == images.shape[2:]:
            labels = prepared["label"].to(torch.uint8).cpu().numpy()
            sheet = label_maps.sheet(pictures, labels, batch["name"], spec.palette)
        # an image with a single label, which its name tells
        else:
            titled = list(zip(batch["name"], pictures, strict=True))
            sheet = label_maps.panels(titled, columns=min(4, len(titled)))
        path = self.training.folder / "augmented" / f"step_{step}.png"
        label_maps.write(path, sheet)
        log.info("what the network sees: %s", path)
