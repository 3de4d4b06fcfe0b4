"""A trained network out of a checkpoint file: which architecture, which classes, raw or averaged weights."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from network.checkpoints import weights
from network.checkpoints.keys import class_count, guess_architecture
from network.checkpoints.weights import WeightsError
from network.options import build_options
from network.registry import build, names, resolve_name

WEIGHTS = ("auto", "raw", "ema")


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Model" for the programs that use a trained network."""
    group = parser.add_argument_group("Model")
    group.add_argument("--snapshot", required=True, type=Path, help="checkpoint of a run, or a published one (.pth)")
    group.add_argument("--arch", help="needed where neither the file says it nor its keys show it; "
                                      f"one of: {', '.join(names())}, sfnet_timm:MODEL, sfnet_lite_timm:MODEL")
    group.add_argument("--weights", choices=WEIGHTS, default="auto",
                       help="raw or averaged (ema) ones; auto takes the averaged where the file has them")


@dataclass(frozen=True)
class SnapshotOptions:
    """Which trained network to load; the fields are the flags of the same name.

    Args:
        path: of the checkpoint file (`--snapshot`).
        arch: its architecture; None if the file or its keys tell it.
        weights: one of `WEIGHTS`.
    """

    path: Path
    arch: str | None = None
    weights: str = "auto"

    @classmethod
    def from_args(cls, args: Namespace) -> SnapshotOptions:
        """Reads the flags of `add_flags`."""
        return cls(args.snapshot, args.arch, args.weights)


class Snapshot:
    """A checkpoint file, read and understood.

    Args:
        path: of a run's checkpoint, or of a published one, which says nothing about itself.
        arch: needed when neither the file says it nor its keys show it.
        which: one of `WEIGHTS`.

    Attributes:
        arch: the architecture's name.
        weights: "raw" or "ema".

    Raises:
        FileNotFoundError, WeightsError: the file cannot be read (see `weights.read`), does not say its architecture,
            holds another than `arch`, or has no averaged weights though they are asked for.
    """

    def __init__(self, path: str | Path, arch: str | None = None, which: str = "auto") -> None:
        self.path = Path(path)
        self.payload = weights.read(path)
        stored = self.payload.get("arch")
        if arch and stored and resolve_name(arch) != resolve_name(stored):
            raise WeightsError(f"{path} holds {stored}, not {arch}: leave --arch out, or choose another --snapshot.")
        self.arch = resolve_name(arch or stored or self._recognize())
        averaged = self.payload.get("ema") is not None
        if which == "ema" and not averaged:
            raise WeightsError(f"{path} holds no averaged weights (it was trained without --ema_decay): "
                               "leave --weights out, or give --weights raw.")
        self.weights = "ema" if averaged and which != "raw" else "raw"

    def _recognize(self) -> str:
        """Returns the architecture that the keys belong to."""
        guess = guess_architecture(weights.state_dict(self.payload, False, str(self.path)))
        if guess not in names():
            seems = f", and its keys only show {guess}" if guess else ""
            raise WeightsError(f"{self.path} does not say its architecture{seems}: name it with --arch "
                               f"({', '.join(names())}, sfnet_timm:MODEL, sfnet_lite_timm:MODEL).")
        return guess

    @property
    def dataset(self) -> str | dict[str, Any]:
        """The dataset that it was trained on: its name, or the description of one that a YAML file described.

        Raises WeightsError when the file does not say.
        """
        if self.payload.get("description"):
            return dict(self.payload["description"])
        if not self.payload.get("dataset"):
            raise WeightsError(f"{self.path} does not say which dataset it was trained on: name it with --dataset.")
        return str(self.payload["dataset"])

    def network(self, dataset: str, classes: Sequence[str]) -> nn.Module:
        """Returns the network, filled, in evaluation mode and without auxiliary heads.

        Args:
            dataset: named in errors.
            classes: names of the dataset's classes, which must be those that the file was trained on.

        Raises:
            WeightsError: other classes, or weights that do not fit the architecture.
        """
        trained_on = self.payload.get("classes")
        if trained_on and list(trained_on) != list(classes):
            raise WeightsError(
                f"{self.path} was trained on the {len(trained_on)} classes of {self.payload.get('dataset')} "
                f"({_first(trained_on)}), but {dataset} has {len(classes)} classes ({_first(classes)}): "
                "choose a --dataset with the classes of the snapshot, or another --snapshot.")
        return self.filled(len(classes))

    def filled(self, num_classes: int | None = None) -> nn.Module:
        """Returns the network with its own options, filled, in evaluation mode and without auxiliary heads.

        Args:
            num_classes: as many as the file has when None.

        Raises:
            WeightsError: the weights do not fit the architecture, or the class count.
        """
        ema = self.weights == "ema"
        given = weights.state_dict(self.payload, ema, str(self.path))
        num_classes = num_classes or class_count(given)
        if num_classes is None:
            raise WeightsError(f"{self.path} holds no classifier of {self.arch}: an ImageNet file is what train.py "
                               "--pretrained reads.")
        net = build(self.arch, num_classes, **self.options)
        weights.load(net, self.payload, ema=ema)
        return net.eval()

    @property
    def options(self) -> dict[str, Any]:
        """`build`'s options, as the run chose them."""
        return build_options(self.payload.get("args") or {})


def _first(classes: Sequence[str], most: int = 4) -> str:
    return ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")
