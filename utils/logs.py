"""The log of a program on the terminal and in a file, and progress bars."""
from __future__ import annotations

import logging
import os
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
    """Sends the log of rank 0 to the terminal and to `train.log` in a folder.

    Other ranks print errors only.
    """
    if not is_main():
        logging.basicConfig(level=logging.ERROR, handlers=[_TerminalHandler(f"rank {rank()}: ")],
                            force=True)
        return
    handlers: list[logging.Handler] = [_TerminalHandler()]
    if folder is not None:
        # names of files may have bytes that are not UTF-8
        file = logging.FileHandler(folder / "train.log", encoding="utf-8",
                                   errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)


class _TerminalHandler(logging.Handler):
    """Prints above the progress bar, warnings and errors to stderr.

    A record that the bar shows already (`progress`) is not printed. The traceback of an error goes
    to `train.log` only.

    Args:
        prefix: of each line.
    """

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "progress", False) and has_terminal():
            return
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        try:
            # names of files may have bytes that the terminal cannot show
            encoding = getattr(stream, "encoding", None) or "utf-8"
            message = record.getMessage().encode(encoding, "backslashreplace").decode(encoding)
            tqdm.write(self.prefix + message, file=stream)
            sys.stdout.flush()
        except OSError:
            # the terminal was closed (SIGHUP): the run must still be able to save
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115


def has_terminal() -> bool:
    """Returns whether a progress bar can be drawn."""
    return sys.stderr.isatty()


def track(items: Iterable[T], total: int | None, description: str, *, quiet: bool = False,
          seconds: float = 20) -> Iterator[T]:
    """Yields the items with a progress bar on a terminal, or a line now and then elsewhere.

    Args:
        total: number of items, None if unknown.
        description: names the work.
        quiet: shows nothing, for every rank but 0.
        seconds: between two lines where there is no terminal.
    """
    if has_terminal():
        yield from tqdm(items, description, total, unit="image", leave=False, dynamic_ncols=True,
                        disable=quiet)
        return
    start = last_line = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last_line >= seconds and not quiet:
            last_line = now
            progress = f"{done} of {total}" if total else str(done)
            log.info("%s: %s, %.2f images/s", description, progress, done / (now - start))
