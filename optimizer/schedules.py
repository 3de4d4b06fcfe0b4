"""Learning-rate schedules: a factor on the base rate as a function of the step."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class ScheduleSettings(NamedTuple):
    """Exponents, restart and factor of poly and scl-poly; the other schedules have no settings.

    Args:
        poly_exp: exponent of poly, and of scl-poly before the restart.
        restart: fraction of all steps after which scl-poly restarts; at 1 or above it never does.
        repoly, rescale: exponent and factor of scl-poly after the restart.
    """

    poly_exp: float = 0.9
    restart: float = 1.0
    repoly: float = 1.5
    rescale: float = 1.0


def poly(progress: float, settings: ScheduleSettings) -> float:
    """(1 - progress)^poly_exp, the "poly" policy of DeepLab (arXiv 1606.00915)."""
    return (1 - progress) ** settings.poly_exp


def scaled_poly(progress: float, settings: ScheduleSettings) -> float:
    """Poly until the restart r, then rescale * (1 - (progress - r) / (1 - r))^repoly.

    This is the schedule of the code published with Zhu et al. (CVPR 2019, arXiv 1812.01593), which
    restarts in the epoch from which boundary labels are no longer relaxed.
    """
    # a run may end before the restart
    if progress < settings.restart or settings.restart >= 1:
        return poly(progress, settings)
    since_restart = (progress - settings.restart) / (1 - settings.restart)
    return settings.rescale * (1 - since_restart) ** settings.repoly


def cosine(progress: float, settings: ScheduleSettings) -> float:
    """Half a cosine from 1 to 0 (SGDR, arXiv 1608.03983, without its restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress: float, settings: ScheduleSettings) -> float:
    """1 at every step."""
    return 1.0


DEFAULT = ScheduleSettings()
# progress, in [0, 1), and settings -> factor
SCHEDULES: dict[str, Callable[[float, ScheduleSettings], float]] = {
    "poly": poly,
    "scl-poly": scaled_poly,
    "cosine": cosine,
    "constant": constant,
}


def rate_factor(step: int, *, total_steps: int, schedule: str,
                settings: ScheduleSettings = DEFAULT, warmup_steps: int = 0,
                held_for: int = 1) -> float:
    """Returns the factor on the base rate for a step in [0, total_steps).

    At step t of T it is the product of the linear warm-up and the schedule,

        min(1, (t + 1) / (warmup_steps + 1)) * schedule(t / T).

    The first step after the warm-up has the full rate, and the last step a rate above 0.

    Args:
        schedule: a key of `SCHEDULES`.
        held_for: number of steps for which the schedule stays constant: 1, or those of an epoch.
    """
    warmup = min(1.0, (step + 1) / (warmup_steps + 1))
    # the step at which the schedule last advanced
    advanced = step // held_for * held_for
    progress = advanced / total_steps
    return warmup * SCHEDULES[schedule](progress, settings)
