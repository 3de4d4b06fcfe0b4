"""Weights & Biases: files below the run's folder, or its server with WANDB_MODE=online.

    wandb sync logs/NAME/wandb/offline-run-*
"""
from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from utils.training.tracking.tracker import RunInfo, import_tracker

PROJECT = "sfsegnets"


class WandbTracker:
    """See `tracker.Tracker`. Without a login, the offline mode needs none."""

    def __init__(self, run: RunInfo) -> None:
        wandb = import_tracker("wandb")
        self.image = wandb.Image
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=run.name, id=run.id,
            resume="allow", config=dict(run.flags), dir=str(run.folder),
            mode=os.environ.get("WANDB_MODE", "offline"))
        # wandb's own step cannot go back, as a resumed run does
        self.run.define_metric("*", step_metric="step")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "step": step})

    def pictures(self, images: Mapping[str, np.ndarray], step: int) -> None:
        self.run.log({**{title: self.image(image) for title, image in images.items()},
                      "step": step})

    def finish(self, scores: Mapping[str, float]) -> None:
        self.run.summary.update({f"final/{name}": value for name, value in scores.items()})
        self.run.finish()
