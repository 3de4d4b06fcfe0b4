"""The metrics of a run: the terminal, train.log, metrics.jsonl and TensorBoard, from one place."""
from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np
import torch
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from torch import Tensor
from tqdm import tqdm

from utils.distributed import all_reduce_sum_, world_size
from utils.files import make_folder, write_text
from utils.logs import has_terminal
from utils.machine import GB, peak_memory
from utils.training.progress import Progress
from utils.training.teacher import Teacher
from utils.training.tracking.tracker import BackgroundTracker

T = TypeVar("T")
log = logging.getLogger(__name__)


class RunLog:
    """Writes the metrics of a run to `metrics.jsonl` and TensorBoard, and draws the progress bar.

    Args:
        folder: the run's folder.
        tensorboard: folder of the TensorBoard files.
        progress: of the checkpoint from which a run is resumed. `metrics.jsonl` becomes what that
            checkpoint holds: what was logged after it is removed, and what a crash destroyed is
            written again.
        total_steps, steps_per_epoch: of the run; a bar is drawn on a terminal only.
        device: whose memory is logged.
        teacher: whose share of the time is logged.
        quiet: writes and draws nothing, for every process but the main one.
        tracker: gets the numbers and images too.
    """

    def __init__(self, folder: Path, tensorboard: Path, progress: Progress, *,
                 total_steps: int, steps_per_epoch: int, device: torch.device, quiet: bool = False,
                 teacher: Teacher | None = None, tracker: BackgroundTracker | None = None) -> None:
        self.teacher = teacher
        self.path = folder / "metrics.jsonl"
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.device = device
        self.quiet = quiet
        self.first_step = step = progress.step
        if not quiet:
            self._restore(progress)
            make_folder(tensorboard, "--tb_path")
        self.file = self._open()
        # a run that begins again at step 0 logs its class draws, at step 0, again
        self.tensorboard = SummaryWriter(str(tensorboard), purge_step=step + 1 if step else 0,
                                         write_to_disk=not quiet)
        self.tracker = tracker
        # numbers of the last validation, for the tracker
        self.scores: dict[str, float] = {}
        self.bar = tqdm(total=total_steps, initial=step, unit="step", dynamic_ncols=True,
                        disable=quiet or not has_terminal())

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Appends one object {"kind", "step", **values}; numbers also become scalars of
        TensorBoard. A number that is not finite becomes null, because JSON has no NaN.
        """
        values = json_values(values)
        line = json.dumps({"kind": kind, "step": step, **values}, allow_nan=False)
        self.file.write(line + "\n")
        self.file.flush()
        numbers = _numbers(values)
        for name, number in numbers.items():
            self.tensorboard.add_scalar(f"{kind}/{name}", number, step)
        self.tensorboard.flush()
        if self.tracker:
            self.tracker.scalars({f"{kind}/{name}": number for name, number in numbers.items()},
                                 step)
        if kind == "validation":
            self.scores = numbers

    def log_window(self, window: Window, terms: dict[str, float], step: int, lr: float,
                   grad_norm: Tensor | None) -> None:
        """Logs the steps of a window, and starts the next one.

        Args:
            terms: mean of each term of the loss; empty if every step was skipped.
            step, lr, grad_norm: number of the last step, its base learning rate and the norm of
                its gradient.
        """
        if terms:
            self._log_steps(window, terms, step, lr, grad_norm)
        else:
            self._restart_teacher()
        window.restart()

    def _log_steps(self, window: Window, terms: dict[str, float], step: int, lr: float,
                   grad_norm: Tensor | None) -> None:
        seconds = window.seconds()
        speed = window.images * world_size() / seconds
        waiting = window.waited / seconds
        loss = sum(terms.values())
        epoch = step / self.steps_per_epoch
        memory = peak_memory(self.device) / GB
        gradient = None if grad_norm is None else float(grad_norm)
        teaching = {"teacher": self.teacher.seconds() / seconds} if self.teacher else {}
        self.write("train", step, epoch=epoch, loss=loss, terms=terms, lr=lr,
                   gradient_norm=gradient, images_per_second=speed, waiting_for_data=waiting,
                   memory_gb=memory, **teaching)
        steps_left = self.total_steps - step
        time_left = timedelta(seconds=round(steps_left * seconds / len(window.steps)))
        parts = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        shares = "".join(f", {name} {share:.0%}" for name, share in teaching.items())
        norm = "" if gradient is None else f" gradient {gradient:.2f}"
        self.show_progress(f"epoch {epoch:.2f} step {step}/{self.total_steps}",
                           f"loss {loss:.3f} ({parts}) lr {lr:.2e}{norm} {speed:.1f} images/s, "
                           f"data {waiting:.0%}{shares}, {memory:.1f} GB", f"{time_left} left")

    def add_images(self, images: dict[str, np.ndarray], step: int) -> None:
        """Sends images (H, W, 3) uint8 RGB, by title, to TensorBoard."""
        for title, image in images.items():
            self.tensorboard.add_image(title, image, step, dataformats="HWC")
        self.tensorboard.flush()
        if self.tracker and images:
            self.tracker.pictures(images, step)

    def rewind(self, progress: Progress) -> None:
        """Goes back to what a checkpoint holds, in `metrics.jsonl` and TensorBoard; the window of
        steps begins anew too.
        """
        self._restart_teacher()
        self.file.close()
        if not self.quiet:
            self._restore(progress)
        self.file = self._open()
        self._purge_tensorboard(progress.step + 1)
        self.show_step(progress.step)

    def write_sampling(self, draws: Mapping[int, int], names: Sequence[str]) -> None:
        """Writes, at the start of a run, how often class-uniform sampling draws each class.

        Args:
            draws: train id -> draws of the first epoch; empty without class-uniform sampling.
            names: of the classes.
        """
        if draws and self.first_step == 0:
            self.write("sampling", 0, class_uniform_draws={
                names[train_id]: count for train_id, count in draws.items()})

    def show_step(self, step: int) -> None:
        """Moves the progress bar."""
        self.bar.update(step - self.bar.n)

    def show_progress(self, position: str, values: str, left: str) -> None:
        """Shows values beside the bar on a terminal; elsewhere, and in `train.log`, as a line."""
        self.bar.set_postfix_str(values)
        log.info("%s %s %s", position, values, left, extra={"progress": True})

    def text(self) -> str:
        """Returns the lines so far, for a checkpoint; every process but the main one has none."""
        return "" if self.quiet else self.path.read_text()

    def close(self) -> None:
        self.bar.close()
        self.file.close()
        self.tensorboard.close()
        if self.tracker:
            self.tracker.finish(self.scores)

    def _restart_teacher(self) -> None:
        """Leaves the teacher's time so far out: it belongs to a window that is not logged."""
        if self.teacher:
            self.teacher.seconds()

    def _purge_tensorboard(self, step: int) -> None:
        """Makes TensorBoard drop what was written for this step and later ones.

        This is the event of SummaryWriter's `purge_step`. It goes into the open file: the name of a
        new one has whole seconds, so that it could overwrite the open one.
        """
        restart = SessionLog(status=SessionLog.START)
        self.tensorboard.file_writer.add_event(Event(step=step, session_log=restart))

    def _open(self) -> TextIO:
        return (Path(os.devnull) if self.quiet else self.path).open("a")

    def _restore(self, progress: Progress) -> None:
        """Makes `metrics.jsonl` agree with a checkpoint."""
        metrics = progress.metrics
        if metrics is None:
            metrics = _lines_until(self.path, progress.step)
        write_text(self.path, metrics)


def _lines_until(path: Path, step: int) -> str:
    """Returns the lines of a `metrics.jsonl` up to a step, without lines that a crash cut short."""
    lines, last, is_damaged = [], 0, False
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            line_step = json.loads(line)["step"]
        except json.JSONDecodeError:
            is_damaged = True
            continue
        if line_step <= step:
            lines.append(line)
            last = max(last, line_step)
    if is_damaged and last < step:
        log.warning("%s was cut short: it logs no step from %d to %d", path, last + 1, step)
    return "".join(f"{line}\n" for line in lines)


def last_step(path: Path) -> int:
    """Returns the last step that a `metrics.jsonl` holds; 0 without any."""
    steps = [0]
    for line in path.read_text().splitlines() if path.is_file() else ():
        # a crash may have cut the last line short
        with suppress(json.JSONDecodeError):
            steps.append(json.loads(line)["step"])
    return max(steps)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of an object by name; those of a dict in it as "name/key"."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, int | float):
            numbers[name] = value
        elif isinstance(value, dict):
            numbers |= {f"{name}/{key}".replace(" ", "_"): number for key, number in value.items()
                        if number is not None}
    return numbers


def json_values(value: Any) -> Any:
    """Returns the value with None for each number in it that is not finite."""
    if isinstance(value, dict):
        return {name: json_values(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(entry) for entry in value]
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if is_finite else None


class Window:
    """The steps since the last log line.

    Their losses stay on the device until `fetch` copies them all at once, so that no step waits
    for the device.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins a new window."""
        self.start = time.monotonic()
        # seconds in which the step had to wait for its batch
        self.waited = 0.0
        self.images = 0
        # number and image names of each step
        self.steps: list[tuple[int, list[str]]] = []
        self.terms: list[dict[str, Tensor]] = []

    def add(self, step: int, names: list[str], terms: dict[str, Tensor] | None) -> None:
        """Adds a step, counted from 1.

        Args:
            names: this process's images.
            terms: this process's terms of the loss; None if the step was skipped.
        """
        self.images += len(names)
        if terms is not None:
            self.steps.append((step, names))
            self.terms.append(terms)

    def timed(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the batches and measures the time that each is waited for."""
        while True:
            begin = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - begin
            if batch is None:
                return
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time spent inside, such as a validation, from the window."""
        begin = time.monotonic()
        yield
        self.start += time.monotonic() - begin

    def fetch(self) -> list[tuple[int, dict[str, float]]]:
        """Returns the number of each step and its terms, averaged over all processes."""
        if not self.terms:
            return []
        rows = [torch.stack(list(terms.values())) for terms in self.terms]
        means = (all_reduce_sum_(torch.stack(rows).float()) / world_size()).tolist()
        return [(step, dict(zip(terms, row, strict=True)))
                for (step, _), terms, row in zip(self.steps, self.terms, means, strict=True)]

    def names(self, step: int) -> list[str]:
        """Returns the images that this process had in a step."""
        return next((names for number, names in self.steps if number == step), [])

    def seconds(self) -> float:
        return time.monotonic() - self.start
