"""The learning-rate schedules, as the optimiser uses them: `python -m tools.report --schedules --out schedules.png`."""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import optimizer
from tools.reports.curves import COLOURS, dress

EPOCHS, STEPS_PER_EPOCH = 20, 50
STYLES = ("solid", (0, (4, 2)), "solid", "dotted")          # so that a line shows beneath one that covers it
# panel -> label -> keywords of `optimizer.build_schedule`
PANELS: dict[str, dict[str, Mapping[str, Any]]] = {
    "poly, with and without warm-up, cosine and constant": {
        "poly --poly_exp 0.9": {"lr_schedule": "poly"},
        "poly --poly_exp 0.9 --warmup_steps 100": {"lr_schedule": "poly", "warmup_steps": 100},
        "cosine": {"lr_schedule": "cosine"},
        "constant": {"lr_schedule": "constant"},
    },
    "scl-poly, and poly that moves by the epoch": {
        "scl-poly --rlx_off_epoch 10": {"lr_schedule": "scl-poly", "restart_epoch": 10},
        "scl-poly --rlx_off_epoch 10 --rescale 0.5 --repoly 2": {
            "lr_schedule": "scl-poly", "restart_epoch": 10, "rescale": 0.5, "repoly": 2.0},
        "poly --poly_exp 1 --lr_step epoch": {"lr_schedule": "poly", "poly_exp": 1.0, "lr_step": "epoch"},
    },
}


def add_flags(kinds: argparse._ActionsContainer) -> None:
    kinds.add_argument("--schedules", action="store_true",
                       help=f"draw the learning-rate schedules over {EPOCHS} epochs into one picture, schedules.png")


def run(args: argparse.Namespace) -> str:
    """Draws the schedules, and says where. Raises OSError or ImportError."""
    out = args.out or Path("schedules.png")
    draw_schedules(out)
    return f"learning-rate schedules in {out}"


def rates(**schedule: Any) -> list[float]:
    """Returns the rate of each step, stepping an optimiser whose --lr is 1."""
    stepper = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    following = optimizer.build_schedule(
        stepper, total_steps=EPOCHS * STEPS_PER_EPOCH, steps_per_epoch=STEPS_PER_EPOCH, **schedule)
    found = []
    for _ in range(EPOCHS * STEPS_PER_EPOCH):
        found.append(stepper.param_groups[0]["lr"])
        stepper.step()
        following.step()
    return found


def draw_schedules(out: Path) -> None:
    """Draws each panel's schedules over the epochs into one picture (.png, .svg or .pdf)."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(4.6 * len(PANELS), 3.4), sharey=True, dpi=160)
    epochs = [step / STEPS_PER_EPOCH for step in range(EPOCHS * STEPS_PER_EPOCH)]
    for axis, (title, schedules) in zip(axes, PANELS.items(), strict=True):
        for colour, style, (label, schedule) in zip(COLOURS, STYLES, schedules.items(), strict=False):
            axis.plot(epochs, rates(**schedule), color=colour, linestyle=style, linewidth=1.5, label=label)
        dress(axis, title)
        axis.set_xticks(range(0, EPOCHS + 1, 5))
        axis.set_xlim(0, EPOCHS)
        axis.set_ylim(0, 1.45)
        axis.legend(frameon=False, fontsize=7, loc="upper right")
    axes[0].set_ylabel("learning rate / --lr", fontsize=8)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    pyplot.close(figure)
