"""The networks: `names`, `build` and `weights`. Imports no other room: `torch.hub` can load it alone."""
from __future__ import annotations

from network import weights
from network.registry import OPTIONS, TIMM_HEADS, add_option_flags, build, canonical, chosen_options, names

__all__ = ["OPTIONS", "TIMM_HEADS", "add_option_flags", "build", "canonical", "chosen_options", "names", "weights"]
