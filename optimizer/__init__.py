"""Optimizers, parameter groups and learning-rate schedules."""
from __future__ import annotations

import logging
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from optimizer.groups import parameter_groups
from optimizer.options import LR_BATCH, OptimizerOptions, ScheduleOptions, add_flags
from optimizer.schedules import ScheduleSettings, rate_factor

__all__ = ["OptimizerOptions", "ScheduleOptions", "add_flags", "base_rate", "build",
           "build_schedule", "parameter_groups"]

log = logging.getLogger(__name__)


def build(net: nn.Module, options: OptimizerOptions, *,
          global_batch: int = LR_BATCH) -> torch.optim.Optimizer:
    """Returns the optimizer over the network's trainable parameters.

    With `scale_lr` the learning rate is lr * global_batch / LR_BATCH (linear scaling, Goyal et al.,
    arXiv 1706.02677).

    Args:
        global_batch: images of one step, over all processes and accumulated micro-batches.

    Raises:
        ValueError: no parameter is trainable.
    """
    groups = parameter_groups(
        net, weight_decay=options.weight_decay, decay_norms=options.decay_norms,
        backbone_factor=options.backbone_lr_factor, head_factor=options.head_lr_factor,
        layer_decay=options.layer_decay)
    if not groups:
        raise ValueError("every parameter is frozen: there is nothing to train")
    lr = options.lr * global_batch / LR_BATCH if options.scale_lr else options.lr
    for group in groups:
        group["lr"] = lr * group.pop("factor")
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    return torch.optim.SGD(groups, lr=lr, momentum=options.momentum, nesterov=options.nesterov)


def build_schedule(optimizer: torch.optim.Optimizer, options: ScheduleOptions, *, total_steps: int,
                   steps_per_epoch: int = 1, restart_epoch: int | None = None) -> LambdaLR:
    """Returns the schedule; call its `step` after every optimizer step, whatever `lr_step` is.

    Args:
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.
        restart_epoch: the epoch, counted from 0, in which scl-poly restarts; other schedules
            ignore it. If the run ends before this epoch, scl-poly decreases as plain poly, with a
            warning.
    """
    restart = 1.0
    if options.restarts and restart_epoch is not None:
        restart = restart_epoch * steps_per_epoch / total_steps
        if restart >= 1:
            log.warning("the learning rate does not restart: the run ends before epoch %d "
                        "(--rlx_off_epoch)", restart_epoch)
    warmup_steps = options.warmup_steps
    if warmup_steps < 1:
        warmup_steps *= total_steps
    settings = ScheduleSettings(options.poly_exp, restart, options.repoly, options.rescale)
    factor = partial(rate_factor, total_steps=total_steps, schedule=options.lr_schedule,
                     settings=settings, warmup_steps=round(warmup_steps),
                     held_for=steps_per_epoch if options.lr_step == "epoch" else 1)
    return LambdaLR(optimizer, factor)


def base_rate(schedule: LambdaLR) -> float:
    """Returns the learning rate of the next step, without the factors of the parameter groups."""
    # the groups do not keep their factors
    factor = schedule.lr_lambdas[0](schedule.last_epoch)
    return float(schedule.optimizer.defaults["lr"] * factor)
