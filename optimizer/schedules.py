"""Learning-rate schedules: the factor on the base rate as a function of the step, from 0 to the last."""
from __future__ import annotations

import math
from collections.abc import Callable


def poly(progress: float, exponent: float) -> float:
    """(1 - progress)^exponent, the "poly" policy of DeepLab (arXiv 1606.00915, section 4.1.1)."""
    return (1 - progress) ** exponent


def cosine(progress: float, exponent: float) -> float:
    """Half a cosine from 1 to 0 (SGDR, arXiv 1608.03983, equation 5); takes no exponent."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress: float, exponent: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {"poly": poly, "cosine": cosine, "constant": constant}


def rate_factor(step: int, *, total_steps: int, schedule: str, poly_exp: float, warmup_steps: int) -> float:
    """Returns the factor for a step in [0, total_steps).

    The first step after the warm-up has the whole rate and the last one more than zero; the warm-up rises linearly
    over its steps and multiplies the schedule.
    """
    warmup = min(1.0, (step + 1) / (warmup_steps + 1))
    return warmup * SCHEDULES[schedule](min(step / total_steps, 1.0), poly_exp)
