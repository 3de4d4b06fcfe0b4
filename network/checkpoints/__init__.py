"""Weights of networks: files of many kinds, model folders, and the rules of their keys."""
from __future__ import annotations


class WeightsError(ValueError):
    """A file cannot be read as weights, or does not fit the network. The message has a remedy."""
