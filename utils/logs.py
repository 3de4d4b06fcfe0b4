"""What a run says while it goes on: the terminal, train.log, metrics.jsonl and TensorBoard, from one place."""
from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from torch import Tensor
from tqdm import tqdm

from utils.checkpoint import write_text
from utils.distributed import is_main

log = logging.getLogger(__name__)


def start_logging(folder: Path | None = None) -> None:
    """Sends the log of the main process to the terminal and, with a folder, to `train.log` there; drops the others'."""
    if not is_main():
        logging.basicConfig(level=logging.ERROR, force=True)
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


class RunLog:
    """The metrics of a run, written to `metrics.jsonl` and TensorBoard, and the progress bar.

    Args:
        folder: the run's.
        tensorboard: folder of the TensorBoard files.
        step: what a resumed run goes on from; what was logged after it is forgotten, so that no step stands twice.
        total_steps: length of the bar, which is drawn only on a terminal.
        quiet: writes and draws nothing, for the processes that are not the main one.
    """

    def __init__(self, folder: Path, tensorboard: Path, step: int, total_steps: int, quiet: bool = False) -> None:
        self.folder, self.path = tensorboard, folder / "metrics.jsonl"
        if not quiet:
            self._forget_after(step)
        self.file = (Path(os.devnull) if quiet else self.path).open("a")
        self.tensorboard = SummaryWriter(str(tensorboard), purge_step=step + 1 if step else None,
                                         write_to_disk=not quiet)
        self.bar = tqdm(total=total_steps, initial=step, unit="step", dynamic_ncols=True,
                        disable=quiet or not has_terminal())

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Adds one object {"kind", "step", **values}; numbers also become TensorBoard's `<kind>/<name>`."""
        self.file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self.tensorboard.add_scalar(f"{kind}/{name}", value, step)
            elif isinstance(value, dict):
                for part, number in value.items():
                    if number is not None:
                        self.tensorboard.add_scalar(f"{kind}/{name}/{part}".replace(" ", "_"), number, step)
        self.tensorboard.flush()

    def progress(self, where: str, values: str, left: str) -> None:
        """Says how the run goes: the values beside the bar on a terminal, a line elsewhere and in `train.log`."""
        self.bar.set_postfix_str(values)
        log.info("%s %s %s", where, values, left, extra={"progress": True})

    def close(self) -> None:
        self.bar.close()
        self.file.close()
        self.tensorboard.close()

    def _forget_after(self, step: int) -> None:
        """Drops what was logged after a step, and a last line that a crash cut short."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except json.JSONDecodeError:
                continue
        write_text(self.path, "".join(f"{line}\n" for line in kept))


class Window:
    """What happened since the last log line; the losses stay on the device until they are asked for."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.steps = self.images = 0
        self.totals: dict[str, Tensor] = {}

    def add(self, terms: dict[str, Tensor], images: int) -> None:
        self.steps += 1
        self.images += images
        for name, term in terms.items():
            self.totals[name] = self.totals[name] + term if name in self.totals else term

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes what is done inside, such as a validation, out of the window's seconds."""
        begin = time.monotonic()
        yield
        self.start += time.monotonic() - begin

    def means(self) -> dict[str, float]:
        return {name: float(total) / self.steps for name, total in self.totals.items()}

    def seconds(self) -> float:
        return time.monotonic() - self.start
