"""The metrics of a run: the terminal, train.log, metrics.jsonl and TensorBoard, from one place."""
from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np
import torch
from tensorboardX import SummaryWriter
from torch import Tensor
from tqdm import tqdm

from utils.distributed import all_reduce_sum_, world_size
from utils.files import write_text
from utils.logs import has_terminal
from utils.training.intervals import Intervals

T = TypeVar("T")
log = logging.getLogger(__name__)


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
        self.folder, self.path, self.quiet = tensorboard, folder / "metrics.jsonl", quiet
        if not quiet:
            self._forget_after(step)
        self.file = self._file()
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

    def train(self, step: int, cadence: Intervals, window: Window, terms: dict[str, float], *, lr: float,
              norm: Tensor | None, memory: float) -> None:
        """Tells how the steps of a window went.

        Args:
            terms: mean of each term of the loss.
            lr, norm: learning rate and norm of the gradient of the last step.
            memory: the peak so far, in GB.
        """
        seconds, total = window.seconds(), sum(terms.values())
        speed, waiting = window.images * world_size() / seconds, window.waited / seconds
        gradient = None if norm is None else float(norm)
        self.write("train", step, epoch=cadence.epoch(step), loss=total, terms=terms, lr=lr, gradient_norm=gradient,
                   images_per_second=speed, waiting_for_data=waiting, memory_gb=memory)
        parts = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        left = timedelta(seconds=round((cadence.total_steps - step) * seconds / len(window.steps)))
        shown = "" if gradient is None else f" gradient {gradient:.2f}"
        self.progress(f"epoch {cadence.epoch(step):.2f} step {step}/{cadence.total_steps}",
                      f"loss {total:.3f} ({parts}) lr {lr:.2e}{shown} {speed:.1f} images/s, data {waiting:.0%}, "
                      f"{memory:.1f} GB", f"{left} left")

    def show(self, pictures: dict[str, np.ndarray], step: int) -> None:
        """Sends pictures (H, W, 3) uint8 RGB, by title, to TensorBoard."""
        for title, picture in pictures.items():
            self.tensorboard.add_image(title, picture, step, dataformats="HWC")
        self.tensorboard.flush()

    def rewind(self, step: int) -> None:
        """Forgets what was logged after a step."""
        self.file.close()
        if not self.quiet:
            self._forget_after(step)
        self.file = self._file()
        self.bar.update(step - self.bar.n)

    def progress(self, where: str, values: str, left: str) -> None:
        """Says how the run goes: the values beside the bar on a terminal, a line elsewhere and in `train.log`."""
        self.bar.set_postfix_str(values)
        log.info("%s %s %s", where, values, left, extra={"progress": True})

    def close(self) -> None:
        self.bar.close()
        self.file.close()
        self.tensorboard.close()

    def _file(self) -> TextIO:
        return (Path(os.devnull) if self.quiet else self.path).open("a")

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
    """What happened since the last log line. Its numbers stay on the device until they are fetched, all at once."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.waited = 0.0                                   # seconds in which the step had no batch
        self.images = 0
        self.steps: list[tuple[int, list[str]]] = []        # number and images of each step
        self.terms: list[dict[str, Tensor]] = []

    def add(self, step: int, names: list[str], terms: dict[str, Tensor] | None) -> None:
        """Takes a step, counted from 1, with this process's share of its terms; None where it was left out."""
        self.images += len(names)
        if terms is not None:
            self.steps.append((step, names))
            self.terms.append(terms)

    def waiting(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the batches and counts the time until each is there."""
        while True:
            begin = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - begin
            if batch is None:
                return
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes what is done inside, such as a validation, out of the window's seconds."""
        begin = time.monotonic()
        yield
        self.start += time.monotonic() - begin

    def fetch(self) -> list[tuple[int, dict[str, float]]]:
        """Returns each step's number and its terms over all processes."""
        if not self.terms:
            return []
        values = torch.stack([torch.stack(list(terms.values())) for terms in self.terms]).float()
        means = (all_reduce_sum_(values) / world_size()).tolist()
        return [(step, dict(zip(terms, row, strict=True)))
                for (step, _), terms, row in zip(self.steps, self.terms, means, strict=True)]

    def names(self, step: int) -> list[str]:
        """Returns the images that this process had in a step."""
        return next((names for number, names in self.steps if number == step), [])

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def restart(self) -> None:
        self.__init__()  # type: ignore[misc]
