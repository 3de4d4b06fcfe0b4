"""The learning-rate schedules, as the optimizer uses them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import optimizer
from tools.maintainer.figures import style
from tools.maintainer.figures.style import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, STEPS_PER_EPOCH = 20, 50
# so that a line shows beneath one that covers it
STYLES = ("solid", (0, (4, 2)), "solid", "dotted")
# panel -> label -> fields of `ScheduleOptions`, and `restart_epoch`
PANELS: dict[str, dict[str, Mapping[str, Any]]] = {
    "poly, cosine and constant": {
        "poly --poly_exp 0.9": {"lr_schedule": "poly"},
        "poly --poly_exp 0.9 --warmup_steps 100": {"lr_schedule": "poly", "warmup_steps": 100},
        "cosine": {"lr_schedule": "cosine"}, "constant": {"lr_schedule": "constant"},
    },
    "scl-poly, and poly that moves by the epoch": {
        "scl-poly --rlx_off_epoch 10": {"lr_schedule": "scl-poly", "restart_epoch": 10},
        "scl-poly --rlx_off_epoch 10 --rescale 0.5 --repoly 2": {
            "lr_schedule": "scl-poly", "restart_epoch": 10, "rescale": 0.5, "repoly": 2.0,
        },
        "poly --poly_exp 1 --lr_step epoch": {
            "lr_schedule": "poly", "poly_exp": 1.0, "lr_step": "epoch",
        },
    },
}


def learning_rates(*, restart_epoch: int | None = None, **fields: Any) -> list[float]:
    """Returns the rate of each step, stepping an optimizer whose --lr is 1."""
    stepper = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    following = optimizer.build_schedule(
        stepper, optimizer.ScheduleOptions(**fields), total_steps=EPOCHS * STEPS_PER_EPOCH,
        steps_per_epoch=STEPS_PER_EPOCH, restart_epoch=restart_epoch)
    rates = []
    for _ in range(EPOCHS * STEPS_PER_EPOCH):
        rates.append(stepper.param_groups[0]["lr"])
        stepper.step()
        following.step()
    return rates


def draw(sources: Path, theme: Theme) -> Figure:
    """Draws each panel's schedules over the epochs; reads nothing."""
    figure, axes = style.new_figure(3.4, ncols=len(PANELS), sharey=True, gridspec_kw={
        "left": 0.06, "right": 0.985, "top": 0.92, "bottom": 0.135, "wspace": 0.06})
    epochs = [step / STEPS_PER_EPOCH for step in range(EPOCHS * STEPS_PER_EPOCH)]
    colors = (theme.blue, theme.orange, theme.green, theme.purple)
    for axis, letter, (title, schedules) in zip(axes, "ab", PANELS.items(), strict=True):
        for color, dashes, (label, schedule) in zip(colors, STYLES, schedules.items(),
                                                    strict=False):
            axis.plot(epochs, learning_rates(**schedule), color=color, linestyle=dashes,
                      label=label)
        style.letter(axis, letter, title)
        axis.set(xlabel="epoch", xticks=range(0, EPOCHS + 1, 5), xlim=(0, EPOCHS), ylim=(0, 1.45))
        axis.legend(loc="upper right", fontsize=style.SMALL - 0.5, borderaxespad=0)
    axes[0].set_ylabel("learning rate / --lr")
    return figure
