"""The log of a program on the terminal and in a file, and progress bars."""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from utils.distributed import is_main, rank

T = TypeVar("T")
log = logging.getLogger(__name__)


def start_logging(folder: Path | None = None) -> None:
    """Sends the log of the main process to the terminal and, with a folder, to `train.log` there; drops the others'."""
    if not is_main():
        logging.basicConfig(level=logging.ERROR, format=f"rank {rank()}: %(message)s", force=True)
        return
    handlers: list[logging.Handler] = [_AboveTheBar()]
    if folder is not None:
        file = logging.FileHandler(folder / "train.log")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)


class _AboveTheBar(logging.Handler):
    """Prints a line without tearing the progress bar apart; what the bar shows is not said twice.

    An error is one line here; where it came from stands in `train.log`.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "progress", False) and has_terminal():
            return
        tqdm.write(record.getMessage(), file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout)
        sys.stdout.flush()


def has_terminal() -> bool:
    """Whether a progress bar can be drawn."""
    return sys.stderr.isatty()


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
