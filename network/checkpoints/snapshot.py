"""A trained network from a checkpoint file: its architecture, classes, raw or averaged weights."""
from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _ActionsContainer
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network import normalization
from network.checkpoints.files import read
from network.checkpoints.keys import class_count, guess_architecture
from network.checkpoints.paths import checkpoint_path, shipped
from network.checkpoints.weights import WeightsError, load, prefers_averaged, state_dict
from network.model import SceneParser
from network.options import build_options
from network.registry import build, names, resolve_name, timm_names

WEIGHTS = ("auto", "raw", "ema")


# The network of the demo and of the app, where `--snapshot` names no other.
DEFAULT_SNAPSHOT = "sfnet_lite_efflite0_camvid"


def add_flags(parser: ArgumentParser, *, default: str | None = None) -> None:
    """Declares the flags of group "Model" of the programs that use a trained network.

    Args:
        default: the name of the shipped network that runs without `--snapshot`; None if the flag
            is required.
    """
    group = parser.add_argument_group("Model")
    suffix = f" (default: {default})" if default else ""
    group.add_argument("--snapshot", required=default is None, type=snapshot_path,
                       default=default,
                       help="checkpoint of a run, or a published one (.pth, .safetensors); the "
                            "folder of a run, whose best checkpoint is taken, or else the last; a "
                            "model folder of `tools.weights pack`; or the name of a shipped "
                            f"network: {', '.join(shipped())}{suffix}")
    group.add_argument(
        "--arch", help="required if the file does not name it and its keys do not identify it; "
                       f"one of: {', '.join(names())}, {', '.join(timm_names())}")
    add_weights_flag(group)


def add_weights_flag(group: _ActionsContainer) -> None:
    """Declares `--weights`."""
    group.add_argument("--weights", choices=WEIGHTS, default="auto",
                       help="raw or averaged (ema) weights; auto takes the averaged ones if the "
                            "file has them and its run validated them")


def snapshot_path(text: str) -> Path:
    """Reads the value of `--snapshot` (see `checkpoint_path`), for a parser of flags."""
    try:
        return checkpoint_path(text)
    except WeightsError as error:
        raise ArgumentTypeError(str(error)) from None


@dataclass(frozen=True)
class SnapshotOptions:
    """The trained network to load; the fields are the flags of the same name.

    Args:
        path: of the checkpoint file (`--snapshot`).
        arch: its architecture; None if the file names it, or its keys identify it.
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
    """A checkpoint file, with the architecture, the dataset and the options of its network.

    Args:
        path: a checkpoint of a run, or a published one, which holds a state dict alone; or the
            folder of a run, a model folder, or the name of a shipped network (see
            `checkpoint_path`).
        arch: the architecture; required if the file does not name it and its keys do not identify
            it.
        weights: one of `WEIGHTS`: the weights of the file to load; "auto" loads the averaged ones
            if there are any, unless the run validated the raw ones only (`--eval_weights raw`).

    Attributes:
        arch: the architecture's name.
        weights: the weights that are loaded, "raw" or "ema".

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file cannot be read (see `network.weights.read`), does not identify its
            architecture, holds an architecture other than `arch`, or has no averaged weights for
            "ema".
    """

    def __init__(self, path: str | Path, arch: str | None = None,
                 weights: str = "auto") -> None:
        self.path = path = checkpoint_path(path)
        self.payload = read(path)
        stored = self.payload.get("arch")
        if arch and stored and resolve_name(arch) != resolve_name(stored):
            raise WeightsError(f"{path} holds {stored}, not {arch}: leave out arch={arch}, or "
                               "choose another snapshot.")
        self.arch = resolve_name(arch or stored or self._recognize())
        averaged = self.payload.get("ema") is not None
        if weights == "ema" and not averaged:
            raise WeightsError(f"{path} holds no averaged weights, its run averaged none: "
                               'pass weights="raw" or "auto".')
        if weights == "auto":
            weights = "ema" if prefers_averaged(self.payload) else "raw"
        self.weights = weights

    def _recognize(self) -> str:
        """Returns the architecture that the keys of the file identify."""
        guess = guess_architecture(state_dict(self.payload, False, str(self.path)))
        if guess not in names():
            hint = f", and its keys only show {guess}" if guess else ""
            valid = ", ".join((*names(), *timm_names()))
            raise WeightsError(f"{self.path} does not say its architecture{hint}: pass arch=NAME "
                               f"({valid}).")
        return guess

    @property
    def dataset(self) -> str | dict[str, Any]:
        """The dataset of the training: its name, or the description from its YAML file.

        Raises:
            WeightsError: the file does not name it.
        """
        if self.payload.get("description"):
            return dict(self.payload["description"])
        if not self.payload.get("dataset"):
            raise WeightsError(f"{self.path} does not say which dataset it was trained on: "
                               "pass dataset=NAME.")
        return str(self.payload["dataset"])

    @property
    def temperature(self) -> float:
        """By which logits are divided for probabilities; 1 if `tools.calibrate` fitted none.

        Raises:
            WeightsError: it is not a number above 0.
        """
        value = self.payload.get("temperature")
        if value is None:
            return 1.0
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise WeightsError(f"{self.path} holds the temperature {value!r}, not a number above "
                               "0: fit it again with python -m tools.calibrate")
        return float(value)

    @property
    def license(self) -> str | None:
        """The terms of the weights, if the file states them."""
        return self.payload.get("notes", {}).get("license")

    def network(self, dataset: str, classes: Sequence[str], *,
                mean: Sequence[float] | None = None,
                std: Sequence[float] | None = None) -> SceneParser:
        """Returns the trained network, in evaluation mode and without auxiliary heads.

        Args:
            dataset: the name of a dataset, for the error.
            classes: the names of its classes, which must be those of the training.
            mean, std: as in `build_network`.

        Raises:
            WeightsError: the classes differ, or the weights do not fit the architecture.
        """
        trained = self.payload.get("classes")
        if trained and list(trained) != list(classes):
            raise WeightsError(
                f"{self.path} was trained on the {len(trained)} classes of "
                f"{self.payload.get('dataset')} ({_first(trained)}), but {dataset} has "
                f"{len(classes)} classes ({_first(classes)}): choose a dataset with the classes "
                "of the snapshot, or another snapshot.")
        return self.build_network(len(classes), mean=mean, std=std)

    def build_network(self, num_classes: int | None = None, *, mean: Sequence[float] | None = None,
                      std: Sequence[float] | None = None) -> SceneParser:
        """Returns the trained network without a check of the names of its classes.

        Args:
            num_classes: K; that of the file when None.
            mean, std: of the dataset, for a file that does not contain them; None if the dataset
                does not define them.

        Raises:
            WeightsError: the weights do not fit the architecture or the class count.
        """
        ema = self.weights == "ema"
        state = state_dict(self.payload, ema, str(self.path))
        num_classes = num_classes or class_count(state)
        if num_classes is None:
            raise WeightsError(f"{self.path} holds no classifier of {self.arch}: the weights of a "
                               "backbone alone are loaded for training, by pretrained=PATH.")
        net = build(self.arch, num_classes, **self.options)
        load(net, self.payload, ema=ema)
        net.normalization = normalization.of_checkpoint(self.payload, mean, std)
        return net.eval()

    @property
    def options(self) -> dict[str, Any]:
        """The options of `network.build` that the run was started with."""
        return build_options(self.payload.get("args") or {})


def _first(classes: Sequence[str], most: int = 4) -> str:
    return ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")
