"""The flags of the optimizer and of the learning-rate schedule."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, fields

from optimizer.schedules import SCHEDULES
from utils.cli import add_switch, count_or_fraction, fraction, number_from_0, positive_number

# images in the global batch for which --lr is meant, with --scale_lr
LR_BATCH = 16

# value of args.optimizer -> help text of the flag of that name
OPTIMIZERS = {
    "sgd": "SGD with momentum (the default)",
    "adam": "Adam",
    "adamw": "AdamW: weight decay decoupled from the gradient",
}
LR_STEPS = ("iteration", "epoch")


@dataclass(frozen=True)
class OptimizerOptions:
    """The flags of group "Optimizer" that concern one update of the weights, under the same names.

    Args:
        optimizer: a key of `OPTIMIZERS`.
        lr: base learning rate.
        scale_lr: whether `lr` is multiplied by global batch / `LR_BATCH`.
        momentum, nesterov: of SGD.
        weight_decay: factor of the L2 penalty.
        decay_norms: whether weight decay also applies to biases and norm layers.
        backbone_lr_factor, head_lr_factor: factors of `lr`.
        layer_decay: ratio of a backbone layer's rate to that of the next layer, in (0, 1].
        clip_grad: largest norm of the gradient; 0 does not clip.
        ema_decay: decay of the exponential moving average of the weights; 0 keeps none.

    Raises:
        ValueError: a value is out of range, or two flags exclude each other.
    """

    optimizer: str = "sgd"
    lr: float = 0.01
    scale_lr: bool = False
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    decay_norms: bool = False
    backbone_lr_factor: float = 1.0
    head_lr_factor: float = 1.0
    layer_decay: float = 1.0
    clip_grad: float = 0.0
    ema_decay: float = 0.0

    @classmethod
    def from_args(cls, args: Namespace) -> OptimizerOptions:
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}: choose one of "
                             f"{', '.join(OPTIMIZERS)}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"--layer_decay is {self.layer_decay}, the ratio of a layer's rate to "
                             "that of the next layer: give a number in (0, 1]")
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("--nesterov is a form of SGD's momentum: leave out --nesterov, or use "
                             "--sgd and a --momentum above 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"--ema_decay is a fraction in [0, 1), not {self.ema_decay}")


@dataclass(frozen=True)
class ScheduleOptions:
    """The flags of group "Optimizer" that concern the learning rate over time.

    Args:
        lr_schedule: a key of `SCHEDULES`.
        lr_step: one of `LR_STEPS`: the schedule advances at each iteration or at each epoch.
        poly_exp: exponent of the poly schedule.
        repoly, rescale: exponent and factor of scl-poly after its restart.
        warmup_steps: iterations over which the rate rises linearly; below 1, a fraction of all.

    Raises:
        ValueError: a name is unknown.
    """

    lr_schedule: str = "poly"
    lr_step: str = "iteration"
    poly_exp: float = 0.9
    repoly: float = 1.5
    rescale: float = 1.0
    warmup_steps: float = 0

    @classmethod
    def from_args(cls, args: Namespace) -> ScheduleOptions:
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if self.lr_schedule not in SCHEDULES or self.lr_step not in LR_STEPS:
            raise ValueError(f"--lr_schedule {self.lr_schedule} or --lr_step {self.lr_step} is "
                             f"unknown: choose one of {', '.join(SCHEDULES)}, advanced at each "
                             f"{' or '.join(LR_STEPS)}")

    def check_restart(self, epoch: int | None, last_epoch: int | None) -> None:
        """Checks that a schedule with a restart has an epoch for it within the run.

        Args:
            epoch: of the restart, counted from 0.
            last_epoch: number of epochs of the run; None if its length is given in steps.

        Raises:
            ValueError: the epoch is missing, or the run ends before it.
        """
        if not self.restarts:
            return
        if not epoch:
            raise ValueError("--lr_schedule scl-poly needs --rlx_off_epoch, the epoch in which it "
                             "restarts")
        if last_epoch is not None and epoch >= last_epoch:
            raise ValueError(f"--lr_schedule scl-poly would restart in epoch {epoch} "
                             f"(--rlx_off_epoch), but the run ends after {last_epoch} "
                             "(--max_epoch)")

    @property
    def restarts(self) -> bool:
        """Whether the schedule restarts during the run, in an epoch that has to be given."""
        return self.lr_schedule == "scl-poly"


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Optimizer", for `OptimizerOptions` and `ScheduleOptions`."""
    default, schedule = OptimizerOptions(), ScheduleOptions()
    group = parser.add_argument_group("Optimizer")
    for name, help in OPTIMIZERS.items():
        group.add_argument(f"--{name}", dest="optimizer", action="store_const", const=name,
                           default=default.optimizer, help=help)
    group.add_argument("--lr", type=number_from_0, default=default.lr, help="base learning rate")
    add_switch(group, "--scale_lr", default=default.scale_lr,
               help=f"--lr is for a global batch of {LR_BATCH} images: scale it linearly with the "
                    "global batch")
    group.add_argument("--momentum", type=fraction, default=default.momentum,
                       help="momentum of SGD")
    add_switch(group, "--nesterov", default=default.nesterov, help="SGD with Nesterov momentum")
    group.add_argument("--weight_decay", type=number_from_0, default=default.weight_decay,
                       help="L2 penalty on the weights")
    add_switch(group, "--decay_norms", default=default.decay_norms,
               help="apply weight decay to biases and norm layers too, as the published runs did")
    group.add_argument("--backbone_lr_factor", type=positive_number,
                       default=default.backbone_lr_factor,
                       help="factor on the backbone's learning rate (--freeze_backbone keeps its "
                            "weights fixed)")
    group.add_argument("--head_lr_factor", type=positive_number, default=default.head_lr_factor,
                       help="factor on the head's learning rate")
    group.add_argument("--layer_decay", type=positive_number, default=default.layer_decay,
                       help="ratio of the learning rate of a backbone layer to that of the next "
                            "layer, in (0, 1] (transformers: about 0.8)")
    group.add_argument("--lr_schedule", choices=SCHEDULES, default=schedule.lr_schedule,
                       help="how the rate decreases; scl-poly restarts at --rlx_off_epoch")
    group.add_argument("--lr_step", choices=LR_STEPS, default=schedule.lr_step,
                       help="when the schedule advances; the authors' scripts advance it once an "
                            "epoch")
    group.add_argument("--poly_exp", type=number_from_0, default=schedule.poly_exp,
                       help="exponent of the poly schedule")
    group.add_argument("--repoly", type=number_from_0, default=schedule.repoly,
                       help="with scl-poly: the exponent after the restart")
    group.add_argument("--rescale", type=positive_number, default=schedule.rescale,
                       help="with scl-poly: the factor on --lr at the restart")
    group.add_argument("--warmup_steps", type=count_or_fraction, default=schedule.warmup_steps,
                       help="iterations over which the rate rises linearly; a number below 1 is a "
                            "fraction of the run")
    group.add_argument("--clip_grad", type=number_from_0, default=default.clip_grad,
                       help="largest norm of the gradient; 0 does not clip")
    group.add_argument("--ema_decay", type=float, default=default.ema_decay,
                       help="decay of an exponential moving average of the weights, in [0, 1); "
                            "0 keeps none")
