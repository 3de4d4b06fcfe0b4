"""Optimizers, parameter groups and learning-rate schedules."""
from __future__ import annotations

import logging
from argparse import ArgumentParser
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from optimizer.groups import parameter_groups
from optimizer.schedules import SCHEDULES, Shape, rate_factor
from utils.cli import add_switch, fraction, int_from_0, number_from_0, positive_number

__all__ = ["add_flags", "build", "build_schedule", "chosen_flags", "parameter_groups"]

log = logging.getLogger(__name__)

LR_BATCH = 16                                               # images of a global batch that --lr is for, with --scale_lr
FLAGS = ("optimizer", "lr", "scale_lr", "momentum", "nesterov", "weight_decay", "decay_norms", "backbone_lr_factor",
         "head_lr_factor", "layer_decay")
SCHEDULE_FLAGS = ("lr_schedule", "poly_exp", "repoly", "rescale", "lr_step", "warmup_steps")


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Optimizer")
    for name, help in (("sgd", "SGD with momentum (the default)"), ("adam", "Adam"),
                       ("adamw", "AdamW, whose decay is decoupled from the gradient")):
        group.add_argument(f"--{name}", dest="optimizer", action="store_const", const=name, default="sgd", help=help)
    group.add_argument("--lr", type=number_from_0, default=0.01, help="base learning rate")
    add_switch(group, "--scale_lr", default=False,
               help=f"--lr is for {LR_BATCH} images a step: scale it linearly with the global batch")
    group.add_argument("--momentum", type=fraction, default=0.9, help="of SGD")
    add_switch(group, "--nesterov", default=False, help="SGD with Nesterov's momentum")
    group.add_argument("--weight_decay", type=number_from_0, default=5e-4, help="L2 penalty on the weights")
    add_switch(group, "--decay_norms", default=False,
               help="decay biases and norm layers too, as the published runs did")
    group.add_argument("--backbone_lr_factor", type=positive_number, default=1.0,
                       help="the backbone's share of the rate (--freeze_backbone keeps it as it is)")
    group.add_argument("--head_lr_factor", type=positive_number, default=1.0, help="the head's multiple of the rate")
    group.add_argument("--layer_decay", type=positive_number, default=1.0,
                       help="each layer of the backbone learns at this share of the next one's rate, in (0, 1] "
                            "(transformers: about 0.8)")
    group.add_argument("--lr_schedule", choices=SCHEDULES, default="poly",
                       help="how the rate falls; scl-poly starts anew at --rlx_off_epoch")
    group.add_argument("--lr_step", choices=("iteration", "epoch"), default="iteration",
                       help="when the schedule moves on; the authors' scripts moved it once an epoch")
    group.add_argument("--poly_exp", type=number_from_0, default=0.9, help="exponent of the poly schedule")
    group.add_argument("--repoly", type=number_from_0, default=1.5,
                       help="of scl-poly: the exponent after it starts anew")
    group.add_argument("--rescale", type=positive_number, default=1.0,
                       help="of scl-poly: the multiple of --lr at which it starts anew")
    group.add_argument("--warmup_steps", type=int_from_0, default=0,
                       help="iterations over which the rate rises linearly")
    group.add_argument("--clip_grad", type=number_from_0, default=0.0,
                       help="largest norm of the gradient; 0 does not clip")
    group.add_argument("--ema_decay", type=float, default=0.0,
                       help="decay of an exponential moving average of the weights, in [0, 1); 0 keeps none")


def chosen_flags(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Picks the keywords of `build` and of `build_schedule` out of a run's flags: {"build": ..., "schedule": ...}.

    Raises:
        ValueError: a value is out of range, or two flags clash.
    """
    if settings["layer_decay"] > 1:
        raise ValueError(f"--layer_decay is {settings['layer_decay']}, a share of the next layer's rate: at most 1")
    if settings["nesterov"] and (settings["optimizer"] != "sgd" or not settings["momentum"]):
        raise ValueError("--nesterov is a form of SGD's momentum: leave it out, or take --sgd and a --momentum above 0")
    restarts = settings["lr_schedule"] == "scl-poly"
    if restarts and not settings["rlx_off_epoch"]:
        raise ValueError("--lr_schedule scl-poly needs --rlx_off_epoch, the epoch in which it starts anew")
    if restarts and not settings["max_iters"] and settings["rlx_off_epoch"] >= settings["max_epoch"]:
        raise ValueError(f"--lr_schedule scl-poly would start anew in epoch {settings['rlx_off_epoch']} "
                         f"(--rlx_off_epoch), but the run ends after {settings['max_epoch']} (--max_epoch)")
    return {"build": {flag: settings[flag] for flag in FLAGS},
            "schedule": {flag: settings[flag] for flag in SCHEDULE_FLAGS}
            | {"restart_epoch": settings["rlx_off_epoch"] if restarts else None}}


def build(net: nn.Module, *, optimizer: str, lr: float, momentum: float, weight_decay: float, decay_norms: bool,
          nesterov: bool = False, backbone_lr_factor: float = 1.0, head_lr_factor: float = 1.0,
          layer_decay: float = 1.0, scale_lr: bool = False, global_batch: int = LR_BATCH) -> torch.optim.Optimizer:
    """Returns the optimizer over the network's trained parameters.

    Args:
        scale_lr: multiply the rate by global_batch / 16 (linear scaling, Goyal et al., arXiv 1706.02677).
        global_batch: images of one step, over all processes and accumulations.

    Raises:
        ValueError: nothing is left to train.
    """
    groups = parameter_groups(net, weight_decay, decay_norms, backbone_lr_factor, head_lr_factor, layer_decay)
    if not groups:
        raise ValueError("every parameter is frozen: there is nothing to train")
    rate = lr * global_batch / LR_BATCH if scale_lr else lr
    for group in groups:
        group["lr"] = rate * group.pop("factor")            # type: ignore[operator]
    if optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer](groups, lr=rate)


def build_schedule(optimizer: torch.optim.Optimizer, *, total_steps: int, lr_schedule: str, poly_exp: float = 0.9,
                   warmup_steps: int = 0, lr_step: str = "iteration", steps_per_epoch: int = 1, repoly: float = 1.5,
                   rescale: float = 1.0, restart_epoch: int | None = None) -> LambdaLR:
    """Returns the schedule; call its `step` after every step of the optimizer, whatever `lr_step` says.

    Args:
        restart_epoch: where scaled poly starts anew, counted from 0. A run that ends before falls as plain poly.
    """
    restart = 1.0 if restart_epoch is None else restart_epoch * steps_per_epoch / total_steps
    if restart_epoch is not None and restart >= 1:
        log.warning("the learning rate does not start anew: the run ends before epoch %d (--rlx_off_epoch)",
                    restart_epoch)
    return LambdaLR(optimizer, partial(
        rate_factor, total_steps=total_steps, schedule=lr_schedule, shape=Shape(poly_exp, restart, repoly, rescale),
        warmup_steps=warmup_steps, held_for=steps_per_epoch if lr_step == "epoch" else 1))
