"""Procedural street scenes with the label ids of Cityscapes. `draw(seed, index, size)` makes one."""
from __future__ import annotations

from datasets.street_scenes.scene import draw

__all__ = ["draw"]
