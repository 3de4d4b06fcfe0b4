"""Procedural street scenes with the label ids of Cityscapes: `draw(seed, index, size)`."""
from __future__ import annotations

from tools.make_streets.scene import SMALLEST, VERSION, draw

__all__ = ["SMALLEST", "VERSION", "draw"]
