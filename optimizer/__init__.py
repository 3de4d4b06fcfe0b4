"""Optimisers, parameter groups and learning-rate schedules, stepped per iteration."""
from __future__ import annotations

from argparse import ArgumentParser
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from optimizer.schedules import SCHEDULES, rate_factor
from utils.flags import add_switch

__all__ = ["add_flags", "build", "build_schedule", "parameter_groups"]


def add_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Optimizer")
    for name, help in (("sgd", "SGD with momentum (the default)"), ("adam", "Adam"),
                       ("adamw", "AdamW, whose decay is decoupled from the gradient")):
        group.add_argument(f"--{name}", dest="optimizer", action="store_const", const=name, default="sgd", help=help)
    group.add_argument("--lr", type=float, default=0.01, help="base learning rate")
    group.add_argument("--momentum", type=float, default=0.9, help="of SGD")
    group.add_argument("--weight_decay", type=float, default=5e-4, help="L2 penalty on the weights")
    add_switch(group, "--decay_norms", default=False,
               help="decay biases and norm layers too, as the published runs did")
    group.add_argument("--lr_schedule", choices=SCHEDULES, default="poly", help="applied at every iteration")
    group.add_argument("--poly_exp", type=float, default=0.9, help="exponent of the poly schedule")
    group.add_argument("--warmup_steps", type=int, default=0, help="iterations over which the rate rises linearly")
    group.add_argument("--clip_grad", type=float, default=0.0, help="largest norm of the gradient; 0 does not clip")
    group.add_argument("--ema_decay", type=float, default=0.0,
                       help="decay of an exponential moving average of the weights, in [0, 1); 0 keeps none")


def parameter_groups(net: nn.Module, weight_decay: float, decay_norms: bool) -> list[dict[str, object]]:
    """Returns two groups: what decays, and the vectors (biases, norm layers), which decay only if asked."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": weight_decay if decay_norms else 0.0},
    ]


def build(net: nn.Module, *, optimizer: str, lr: float, momentum: float, weight_decay: float,
          decay_norms: bool) -> torch.optim.Optimizer:
    """Returns the optimiser over the network's trained parameters."""
    groups = parameter_groups(net, weight_decay, decay_norms)
    if optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer](groups, lr=lr)


def build_schedule(optimizer: torch.optim.Optimizer, *, total_steps: int, lr_schedule: str, poly_exp: float,
                   warmup_steps: int) -> LambdaLR:
    """Returns the schedule; call its `step` after every step of the optimiser."""
    return LambdaLR(optimizer, partial(rate_factor, total_steps=total_steps, schedule=lr_schedule, poly_exp=poly_exp,
                                       warmup_steps=warmup_steps))
