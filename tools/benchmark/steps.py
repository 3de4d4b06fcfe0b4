"""The steps of a training on one drawn batch: no dataset, no folder, random weights."""
from __future__ import annotations

import math

import torch

import loss
import network
import optimizer
import train
from utils import IGNORE_LABEL, precision
from utils.batches import Batch
from utils.training import ema, memory, recovery
from utils.training.progress import Progress

# side of the squares of one label, in pixels, and the fraction of them that is ignored
SQUARE, IGNORED_FRACTION = 64, 0.1


class Steps(train.Training):
    """Takes the steps of `train.py`, in one process, with whatever its flags ask for.

    Args:
        options: of the run; its data and its initial weights are not read.
        device: on "meta", tensors have sizes but no memory, and the precision is float32 (see
            `meta_autocast`).

    Raises:
        ValueError: the device cannot run the precision.
    """

    def __init__(self, options: train.Options, device: torch.device) -> None:
        self.options, self.spec, self.device = options, options.data.spec, device
        self.is_meta = device.type == "meta"
        self.precision = "fp32"
        if not self.is_meta:
            self.precision = options.precision.apply(device, one_size=True)
        self.criterion = loss.build(options.loss, class_names=self.spec.names).to(device)
        self._build_network()
        self._build_optimizer()
        self.progress = Progress()
        self.batch = self._draw_batch()

    def _build_network(self) -> None:
        options = self.options.network
        torch.manual_seed(self.options.run.seed)
        with torch.device("meta" if self.is_meta else "cpu"):
            self.net = network.build(options.arch, self.spec.num_classes,
                                     options.deep_supervision, **options.build_options)
        self.add_training_parts()
        precision.move(self.net, self.device, self.options.precision.channels_last)

    def _build_optimizer(self) -> None:
        options = self.options
        self.build_micro_batches()
        self.ema = ema.build(self.net, options.optimizer.ema_decay)
        if options.step.recompute:
            memory.recompute(self.net.backbone)
        self.model = self.net
        if options.precision.compile:
            self.model.compile()
        self.optimizer = optimizer.build(self.net, options.optimizer,
                                         global_batch=options.batching.sizes.global_batch)
        for group in self.optimizer.param_groups if self.is_meta else ():
            # as a GPU updates all weights by default: at once
            group["foreach"] = True
        # any length: the rate does not matter
        self.schedule = optimizer.build_schedule(self.optimizer, options.schedule,
                                                 total_steps=1_000_000)
        self.max_norm = options.optimizer.clip_grad
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.skip_bad_steps = recovery.SkipBadSteps(self.net, self.optimizer, self.scaler,
                                                    options.step.on_nan)

    def _draw_batch(self) -> Batch:
        """Returns random pixels and squares of random labels on the device, as a loader's batch."""
        sizes, (height, width) = self.options.batching.sizes, self.options.transforms.crop_size
        count = sizes.bs_mult * sizes.accumulate
        generator = torch.Generator().manual_seed(0)
        squares = torch.randint(0, self.spec.num_classes,
                                (count, math.ceil(height / SQUARE), math.ceil(width / SQUARE)),
                                dtype=torch.uint8, generator=generator)
        is_ignored = torch.rand(squares.shape, generator=generator) < IGNORED_FRACTION
        labels = squares.masked_fill_(is_ignored, IGNORE_LABEL)
        labels = labels.repeat_interleave(SQUARE, 1).repeat_interleave(SQUARE, 2)
        images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8,
                               generator=generator)
        return {"image": images.to(self.device),
                "label": labels[:, :height, :width].contiguous().to(self.device),
                "name": [str(index) for index in range(count)]}

    def create_optimizer_state(self) -> None:
        """Creates what the optimizer keeps for each parameter, by a step without gradient."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def take(self, count: int) -> None:
        """Takes steps, and waits for the device."""
        for _ in range(count):
            self.train_step(self.batch)
            self.progress.step += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
