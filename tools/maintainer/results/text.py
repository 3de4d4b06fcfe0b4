"""Numbers and tables as the page of results writes them."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def percent(fraction: float | None) -> str:
    """Returns a fraction in %, with two digits; "-" where it is undefined."""
    return "-" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """Returns a difference of fractions in percentage points, with its sign."""
    # no -0.00
    return ("-"
            if difference is None or np.isnan(difference)
            else f"{round(100 * difference, 2) + 0.0:+.2f}")


def spread(fractions: Iterable[float | None]) -> str:
    """Returns the mean in %, and with several the standard deviation."""
    values = [value for value in fractions if value is not None]
    if len(values) < 2:
        return percent(values[0] if values else None)
    return f"{percent(float(np.mean(values)))} ± {percent(float(np.std(values, ddof=1)))}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
                     for line in lines)
