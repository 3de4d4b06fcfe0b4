"""Learning-rate schedules: a factor on the base rate as a function of the step."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Shape(NamedTuple):
    """Parameters of the schedules.

    Args:
        poly_exp: exponent of poly.
        restart: fraction of all steps after which scaled poly restarts; from 1 on it never does.
        repoly, rescale: exponent and factor of scaled poly after the restart.
    """

    poly_exp: float = 0.9
    restart: float = 1.0
    repoly: float = 1.5
    rescale: float = 1.0


def poly(progress: float, shape: Shape) -> float:
    """(1 - progress)^poly_exp, the "poly" policy of DeepLab (arXiv 1606.00915)."""
    return (1 - progress) ** shape.poly_exp


def scaled_poly(progress: float, shape: Shape) -> float:
    """Poly until the restart r, then rescale * (1 - (progress - r) / (1 - r))^repoly.

    This is the schedule of the code published with Zhu et al. (CVPR 2019, arXiv 1812.01593), which
    restarts in the epoch from which boundary labels are no longer relaxed.
    """
    # a run may end before the restart
    if progress < shape.restart or shape.restart >= 1:
        return poly(progress, shape)
    return shape.rescale * (1 - (progress - shape.restart) / (1 - shape.restart)) ** shape.repoly


def cosine(progress: float, shape: Shape) -> float:
    """Half a cosine from 1 to 0 (SGDR, arXiv 1608.03983, without its restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress: float, shape: Shape) -> float:
    """Always 1."""
    return 1.0


DEFAULT = Shape()
# progress, in [0, 1), and shape -> factor
SCHEDULES: dict[str, Callable[[float, Shape], float]] = {
    "poly": poly,
    "scl-poly": scaled_poly,
    "cosine": cosine,
    "constant": constant,
}


def rate_factor(step: int, *, total_steps: int, schedule: str, shape: Shape = DEFAULT,
                warmup_steps: int = 0, held_for: int = 1) -> float:
    """Returns the factor on the base rate for a step in [0, total_steps).

    The first step after the warm-up has the full rate and the last step a rate above 0. The warm-up
    rises linearly and multiplies the schedule.

    Args:
        schedule: a key of `SCHEDULES`.
        held_for: number of steps for which the schedule stays constant: 1, or those of an epoch.
    """
    warmup = min(1.0, (step + 1) / (warmup_steps + 1))
    progress = step // held_for * held_for / total_steps
    return warmup * SCHEDULES[schedule](progress, shape)
