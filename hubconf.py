"""Entries for `torch.hub.load("PATH OF THE CHECKOUT", NAME, source="local")`.

NAME is an architecture, or a shipped network such as `sfnet_lite_efflite0_camvid`.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import network
from network.checkpoints.paths import shipped
from network.checkpoints.snapshot import Snapshot

dependencies = ["torch", "numpy"]


def _entry(name: str) -> Callable[..., nn.Module]:
    """Returns the entry point of an architecture."""
    def entry(weights: str | Path | None = None, num_classes: int | None = None,
              **options: Any) -> nn.Module:
        if weights is not None:
            return Snapshot(weights, name).build_network(num_classes)
        return network.build(name, num_classes or 19, **options)

    entry.__name__ = name
    entry.__doc__ = f"""Returns `{name}`.

    Args:
        weights: a checkpoint of a run, a published one, a model folder or the name of a shipped
            network, with its class count and options; random weights when None.
        num_classes: K, by default that of `weights`, or 19.
        options: of `network.build`, such as `deep_supervision=True`; only without `weights`.
    """
    return entry


def _shipped_entry(name: str) -> Callable[[], nn.Module]:
    """Returns the entry point of a network in `pretrained_models/`."""
    def entry() -> nn.Module:
        return Snapshot(name).build_network()

    entry.__name__ = name
    entry.__doc__ = (f"Returns the trained network `pretrained_models/{name}.safetensors`; its "
                     "license is in `pretrained_models/LICENSE-WEIGHTS`.")
    return entry


# torch.hub offers the functions of this module by name
globals().update({_name: _entry(_name) for _name in network.names()})
globals().update({_name: _shipped_entry(_name) for _name in shipped()})


def timm(arch: str, weights: str | Path | None = None, num_classes: int | None = None,
         **options: Any) -> nn.Module:
    """Returns a network on a timm backbone.

    Args:
        arch: such as `sfnet_timm:resnet18d`.
        weights, num_classes, options: as for the other entries.
    """
    return _entry(arch)(weights, num_classes, **options)


def from_pretrained(folder_or_hub_name: str | Path, revision: str | None = None) -> nn.Module:
    """Returns a trained network from a model folder, or from USER/NAME of the Hugging Face hub.

    See `network.from_pretrained`.
    """
    return network.from_pretrained(folder_or_hub_name, revision=revision)
