"""Trackio: a database beside the runs (TRACKIO_DIR), without a server.

    TRACKIO_DIR=logs/trackio trackio show --project sfsegnets
"""
from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from utils.training.tracking.tracker import RunInfo, import_tracker

PROJECT = "sfsegnets"


class TrackioTracker:
    """See `tracker.Tracker`. A resumed run is the one of the same name."""

    def __init__(self, run: RunInfo) -> None:
        # read by trackio when it is imported
        os.environ.setdefault("TRACKIO_DIR", str(run.shared_folder / "trackio"))
        trackio = import_tracker("trackio")
        self.trackio = trackio
        flags = {name: value if isinstance(value, int | float | str | None) else str(value)
                 for name, value in run.flags.items()}
        self.run = trackio.init(project=PROJECT, name=run.name, config=flags, resume="allow")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def pictures(self, images: Mapping[str, np.ndarray], step: int) -> None:
        self.run.log({title: self.trackio.Image(image) for title, image in images.items()},
                     step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.run.log({f"final/{name}": value for name, value in scores.items()})
        self.run.finish()
