"""The flag `--track`, and the table of trackers."""
from __future__ import annotations

import hashlib
import importlib
import importlib.util
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.training.tracking.tracker import BackgroundTracker, RunInfo

# value of --track -> (module of the adapter, its class). The library has the name of the value;
# the adapter is imported when the run begins.
TRACKERS = {
    "mlflow": ("utils.training.tracking.mlflow", "MlflowTracker"),
    "wandb": ("utils.training.tracking.wandb", "WandbTracker"),
    "trackio": ("utils.training.tracking.trackio", "TrackioTracker"),
}


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flag of `TrackingOptions`."""
    group = parser.add_argument_group("Tracking")
    group.add_argument("--track", choices=tuple(TRACKERS),
                       help="send the run to an experiment tracker too, offline unless its own "
                            "environment variables say otherwise; by default none "
                            "(pip install '.[tracking]')")


@dataclass(frozen=True)
class TrackingOptions:
    """The tracker of a run.

    Args:
        track: a key of `TRACKERS`; None for no tracker.

    Raises:
        ValueError: its library is not installed.
    """

    track: str | None = None

    def __post_init__(self) -> None:
        if self.track and importlib.util.find_spec(self.track) is None:
            raise ValueError(f"--track {self.track}: {self.track} is not installed: pip install "
                             f"'.[tracking]', or pip install {self.track}")

    @classmethod
    def from_args(cls, args: Namespace) -> TrackingOptions:
        """Reads the flag of `add_flags`."""
        return cls(args.track)

    def open(self, folder: Path, flags: Mapping[str, Any],
             quiet: bool = False) -> BackgroundTracker | None:
        """Begins, or goes on with, a run in the tracker; returns None without one.

        Args:
            folder: the run's folder.
            flags: the effective flags.
            quiet: for every process but the main one, which has no tracker.
        """
        if self.track is None or quiet:
            return None
        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        run = RunInfo(folder.resolve().name, folder, flags, identity)
        module, name = TRACKERS[self.track]

        def build() -> Any:
            return getattr(importlib.import_module(module), name)(run)

        return BackgroundTracker(build, self.track)
