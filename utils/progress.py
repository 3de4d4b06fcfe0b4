"""How far a loop over images has come: a bar on a terminal, a plain line now and then elsewhere."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from utils.logs import has_terminal, log

T = TypeVar("T")


def track(items: Iterable[T], total: int | None, what: str, *, quiet: bool = False,
          seconds: float = 20) -> Iterator[T]:
    """Yields the items and shows how many of them are done.

    Args:
        total: how many there are; None where nobody knows.
        what: names the work.
        quiet: shows nothing, as all processes but one should.
        seconds: between two lines where there is no terminal.
    """
    if has_terminal():
        yield from tqdm(items, what, total, unit="image", leave=False, dynamic_ncols=True, disable=quiet)
        return
    start = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= seconds and not quiet:
            said = now
            of = f"{done} of {total}" if total else str(done)
            log.info("%s: %s, %.2f images/s", what, of, done / (now - start))
