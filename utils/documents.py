"""Tables that a command writes into a document, between two marks that stay."""
from __future__ import annotations


def renewed(document: str, begin: str, end: str, text: str) -> str:
    """Returns the document with the text between the two marks, each on a line of its own.

    Raises:
        ValueError: the marks are not there.
    """
    if not 0 <= document.find(begin) < document.find(end):
        raise ValueError(f"the document has no place for the table: put {begin} and {end} on two lines of it")
    head, tail = document.split(begin)[0], document.split(end, 1)[1]
    return "\n".join([head + begin, text, end]) + tail
