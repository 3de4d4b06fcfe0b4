"""Learning-rate schedules: the factor on the base rate as a function of the step, from 0 to the last."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Shape(NamedTuple):
    """What shapes a schedule: the exponent, and for scaled poly where it starts anew, from what and how it falls.

    `restart` is a share of all steps; `rescale` the factor there; `repoly` the exponent from there on.
    """

    poly_exp: float = 0.9
    restart: float = 1.0
    repoly: float = 1.5
    rescale: float = 1.0


def poly(progress: float, shape: Shape) -> float:
    """(1 - progress)^exponent, the "poly" policy of DeepLab (arXiv 1606.00915)."""
    return (1 - progress) ** shape.poly_exp


def scaled_poly(progress: float, shape: Shape) -> float:
    """Poly until the restart; from there a second poly of its own height and exponent, over the steps that are left.

    It is the schedule of the code published with Zhu et al. (CVPR 2019, arXiv 1812.01593), which starts anew in the
    epoch in which boundary labels are no longer relaxed.
    """
    if progress < shape.restart or shape.restart >= 1:      # a run may end before the restart
        return poly(progress, shape)
    return shape.rescale * (1 - (progress - shape.restart) / (1 - shape.restart)) ** shape.repoly


def cosine(progress: float, shape: Shape) -> float:
    """Half a cosine from 1 to 0 (SGDR, arXiv 1608.03983, without its restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress: float, shape: Shape) -> float:
    return 1.0


DEFAULT = Shape()
SCHEDULES: dict[str, Callable[[float, Shape], float]] = {
    "poly": poly, "scl-poly": scaled_poly, "cosine": cosine, "constant": constant}


def rate_factor(step: int, *, total_steps: int, schedule: str, shape: Shape = DEFAULT, warmup_steps: int = 0,
                held_for: int = 1) -> float:
    """Returns the factor for a step in [0, total_steps).

    The first step after the warm-up has the whole rate and the last one more than zero; the warm-up rises linearly
    over its steps and multiplies the schedule.

    Args:
        held_for: steps over which the schedule stays as it is: 1, or those of an epoch.
    """
    warmup = min(1.0, (step + 1) / (warmup_steps + 1))
    progress = step // held_for * held_for / total_steps
    return warmup * SCHEDULES[schedule](progress, shape)
