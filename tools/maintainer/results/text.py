"""Formats numbers and tables for the page of results."""
from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# of a line of prose or of a command, in columns
WIDTH = 100
# first characters of a paragraph that keeps its lines: a table, a heading, a list, a command
KEPT = ("|", "#", "- ", "* ", "```", "<")

def percent(fraction: float | None) -> str:
    """Returns a fraction in %, with two digits; "-" where it is undefined."""
    return "-" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """Returns a difference of fractions in percentage points, with its sign."""
    if difference is None or np.isnan(difference):
        return "-"
    # adding 0.0 turns -0.0 into 0.0
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def spread(fractions: Iterable[float | None]) -> str:
    """Returns the mean in %, and of several values also the standard deviation."""
    values = [value for value in fractions if value is not None]
    if len(values) < 2:
        return percent(values[0] if values else None)
    return f"{percent(float(np.mean(values)))} ± {percent(float(np.std(values, ddof=1)))}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table."""
    lines = []
    for row in (head, ["---"] * len(head), *rows):
        cells = [str(cell).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tall_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table, rows and columns exchanged if it has fewer rows than columns."""
    cells = [head, *rows]
    if len(cells) < len(head):
        cells = [*zip(*cells, strict=True)]
    return table(cells[0], cells[1:])


def wrap_prose(page: str) -> str:
    """Returns a Markdown page with its prose in lines of at most `WIDTH`."""
    paragraphs = page.split("\n\n")
    in_code = False
    for i, paragraph in enumerate(paragraphs):
        if not in_code and not paragraph.startswith(KEPT):
            paragraphs[i] = textwrap.fill(paragraph.strip("\n"), WIDTH, break_long_words=False,
                                          break_on_hyphens=False)
        # an odd number of fences opens or closes a block of code
        in_code ^= paragraph.count("```") % 2 == 1
    return "\n\n".join(paragraphs)
