"""What a tracker receives of a run, and the thread in which it does so."""
from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from utils.errors import in_a_line
from utils.packages import PackageError, require_package

log = logging.getLogger("train")

# calls that wait for the tracker; more than a run makes in the time of a slow connection
MOST_WAITING = 1000
# seconds that the end of a run waits for the last calls
PATIENCE = 60.0


@dataclass(frozen=True)
class RunInfo:
    """A run, as a tracker shows it.

    Args:
        name: of the run's folder (`--exp`).
        folder: the run's folder.
        flags: the effective flags.
        id: the same for a resumed run, so that it goes on in the tracker too.
    """

    name: str
    folder: Path
    flags: Mapping[str, Any]
    id: str

    @property
    def shared_folder(self) -> Path:
        """The folder of all runs, in which trackers that have one database keep it."""
        return self.folder.parent.resolve()


class Tracker(Protocol):
    """An adapter of a tracking library. Any method may raise any exception."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds numbers of a step, by names such as "train/loss"."""
        ...

    def pictures(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Adds images (H, W, 3) uint8 RGB of a step, by title."""
        ...

    def finish(self, scores: Mapping[str, float]) -> None:
        """Adds the final scores, and ends the run in the tracker."""
        ...


def import_tracker(name: str, module: str | None = None) -> Any:
    """Imports the library of a value of `--track`, or a module of it; see `require_package`."""
    return require_package(name, needed_by=f"--track {name}", extra="tracking", module=module)


class BackgroundTracker:
    """Calls a tracker in a thread of its own, so that it can neither stop nor delay a run.

    The first error, or a tracker that does not keep up, is logged in one line, and the tracker is
    not called any more.

    Args:
        build: opens the tracker; called in the thread.
        name: value of `--track`, for messages.
        patience: seconds that `finish` waits for the calls before it.
    """

    def __init__(self, build: Callable[[], Tracker], name: str,
                 patience: float = PATIENCE) -> None:
        self.name = name
        self.patience = patience
        self.failed = False
        self.calls: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(MOST_WAITING)
        # a daemon, so that the program ends even if the tracker hangs
        self.thread = threading.Thread(target=self._work, args=(build,), daemon=True,
                                       name=f"tracker {name}")
        self.thread.start()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker.scalars`."""
        self._put(lambda tracker: tracker.scalars(values, step))

    def pictures(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """See `Tracker.pictures`."""
        self._put(lambda tracker: tracker.pictures(images, step))

    def finish(self, scores: Mapping[str, float]) -> None:
        """Waits for the calls so far and ends the run in the tracker, as `Tracker.finish`."""
        self._put(lambda tracker: tracker.finish(scores))
        self._put(None)
        self.thread.join(self.patience)
        if self.thread.is_alive():
            self._fail(f"it did not answer for {self.patience:.0f} s")

    def _put(self, call: Callable[[Tracker], None] | None) -> None:
        if self.failed:
            return
        try:
            self.calls.put_nowait(call)
        except queue.Full:
            self._fail(f"{MOST_WAITING} calls wait for an answer")

    def _work(self, build: Callable[[], Tracker]) -> None:
        try:
            tracker = build()
            while (call := self.calls.get()) is not None and not self.failed:
                call(tracker)
        except PackageError as error:
            self._fail(str(error))
        # Libraries end with SystemExit too, for example without a login.
        except BaseException as error:
            self._fail(in_a_line(error))

    def _fail(self, reason: str) -> None:
        if not self.failed:
            self.failed = True
            log.warning("--track %s is off from here on (%s): the run goes on, and metrics.jsonl "
                        "and TensorBoard have everything.", self.name, reason)
