"""MLflow: a database beside the runs, or the server that MLFLOW_TRACKING_URI names.

    mlflow ui --backend-store-uri sqlite:///logs/mlflow.db
"""
from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

import numpy as np

from utils.training.tracking.tracker import RunInfo, import_tracker

PROJECT = "sfsegnets"
# the longest value that every server stores
LONGEST_VALUE = 500


class MlflowTracker:
    """See `tracker.Tracker`. A resumed run is found by the tag `run_id`."""

    def __init__(self, run: RunInfo) -> None:
        mlflow, entities = import_tracker("mlflow"), import_tracker("mlflow", "mlflow.entities")
        self.metric = entities.Metric
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.shared_folder}/mlflow.db"
        self.client = mlflow.MlflowClient(uri)
        experiment = self._experiment(run, uri)
        earlier = self.client.search_runs([experiment], f"tags.run_id = '{run.id}'", max_results=1)
        if earlier:
            self.id = earlier[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return
        self.id = self.client.create_run(experiment, run_name=run.name).info.run_id
        tag = entities.RunTag("run_id", run.id)
        params = [entities.Param(name, str(value)[:LONGEST_VALUE])
                  for name, value in run.flags.items()]
        self.client.log_batch(self.id, params=params[:100], tags=[tag])
        self.client.log_batch(self.id, params=params[100:])

    def _experiment(self, run: RunInfo, uri: str) -> str:
        experiment = self.client.get_experiment_by_name(PROJECT)
        if experiment:
            return experiment.experiment_id
        place = (run.shared_folder / "mlflow").as_uri() if uri.startswith("sqlite") else None
        return self.client.create_experiment(PROJECT, artifact_location=place)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self.client.log_batch(self.id, [self.metric(_name(name), value, now, step)
                                             for name, value in values.items()])

    def pictures(self, images: Mapping[str, np.ndarray], step: int) -> None:
        for title, image in images.items():
            self.client.log_image(self.id, image, key=_name(title), step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.scalars({f"final/{name}": value for name, value in scores.items()}, 0)
        self.client.set_terminated(self.id)


def _name(text: str) -> str:
    """Returns a name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", text)
