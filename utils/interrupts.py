"""Ctrl-C and termination as something the loop looks for between steps, so that it can save first."""
from __future__ import annotations

import signal
from types import FrameType, TracebackType

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal asked the run to stop. `exit_code` is the shell's: 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interrupts:
    """While entered, remembers the first SIGINT or SIGTERM for `check`; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        self.before = {number: signal.signal(number, self._remember) for number in WATCHED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raises Interrupted when a signal has come."""
        if self.number is not None:
            raise Interrupted(self.number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
