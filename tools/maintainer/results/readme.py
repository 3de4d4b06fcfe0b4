"""Writes what the studies found into a hand-written page, between two marks."""
from __future__ import annotations

import re
from pathlib import Path

from tools.maintainer.results.text import wrap_prose
from utils.files import write_text

BEGIN, END = "<!-- claims -->", "<!-- end of claims -->"
MARK = re.compile(f"{BEGIN}|{END}")


def write_claims(path: Path, sentences: str) -> None:
    """Replaces the text between the marks of a page.

    Raises:
        FileNotFoundError: the page is missing.
        ValueError: it does not hold the two marks once, in this order.
    """
    page = path.read_text(encoding="utf-8")
    if MARK.findall(page) != [BEGIN, END]:
        raise ValueError(f"{path} must hold {BEGIN} and after it {END}, each once: the sentences "
                         "are written between them")
    write_text(path, between(page, wrap_prose(sentences)))


def between(page: str, text: str) -> str:
    """Returns the page with the text between its marks."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"
