"""Experiment trackers beside TensorBoard and metrics.jsonl: `--track` of train.py."""
from utils.training.tracking.options import TRACKERS, TrackingOptions, add_flags
from utils.training.tracking.tracker import BackgroundTracker, RunInfo, Tracker

__all__ = ["TRACKERS", "BackgroundTracker", "RunInfo", "Tracker", "TrackingOptions", "add_flags"]
