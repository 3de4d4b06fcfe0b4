"""A file of `tools.export` in place of a checkpoint: it says itself what it computes."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.backends.formats import FORMATS
from utils.backends.graph import Run
from utils.backends.runtimes import AUTO, BACKENDS, Runtime
from utils.errors import in_a_line

# entries without which a file cannot be used
NEEDED = ("arch", "weights", "dataset", "classes", "mean", "std", "input", "output", "size",
          "dynamic")


@dataclass(frozen=True)
class ExportedFile:
    """An opened file, with the attributes of `Snapshot` that programs read.

    Args:
        facts: the metadata of the file.
        runtime: opened file.
    """

    path: Path
    facts: Mapping[str, Any]
    runtime: Runtime
    # the flags of its training, which it does not store
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arch(self) -> str:
        return str(self.facts["arch"])

    @property
    def weights(self) -> str:
        return str(self.facts["weights"])

    @property
    def license(self) -> str | None:
        return self.facts.get("license")

    @property
    def dataset(self) -> str | dict[str, Any]:
        """The dataset of the training: its name, or the description from its YAML file."""
        return self.facts.get("description") or str(self.facts["dataset"])

    @property
    def temperature(self) -> float:
        """By which its outputs are divided for probabilities; full-size logits already are."""
        return 1.0 if self.facts["output"] == "logits" else float(self.facts["temperature"])

    def require(self, arch: str | None, weights: str) -> None:
        """Raises ValueError if the file holds another architecture or other weights.

        Args:
            arch: None for any.
            weights: "raw", "ema", or "auto" for either.
        """
        if arch not in (None, self.arch) or weights not in ("auto", self.weights):
            raise ValueError(f"{self.path} holds the {self.weights} weights of {self.arch}: leave "
                             "out --arch and --weights, or give the checkpoint it was made from")

    def require_classes(self, dataset: str, classes: tuple[str, ...]) -> None:
        """Raises ValueError if the classes of a dataset are not those of the file."""
        stored = self.facts["classes"]
        if list(stored) != list(classes):
            raise ValueError(
                f"{self.path} predicts the {len(stored)} classes of {self.facts['dataset']}, but "
                f"{dataset} has {len(classes)} classes: choose a dataset with the classes of the "
                "file, or another file.")


class ExportedNetwork(nn.Module):
    """A file as a network: normalized images (N, 3, H, W) -> its output under the key "main"."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def forward(self, images: Tensor, upsample: bool = False) -> dict[str, Tensor]:
        return {"main": self._run(images)}


def backend_of(path: Path) -> str | None:
    """Returns the backend that runs a file, by its suffix; None for a checkpoint."""
    for name, backend in BACKENDS.items():
        if backend is not None and FORMATS[backend.format].suffix == path.suffix:
            return name
    return None


def open_exported(path: Path, backend: str, device: torch.device, precision: str) -> ExportedFile:
    """Opens a file of `tools.export`.

    Args:
        backend: of `BACKENDS`, or `AUTO`.
        precision: of its float32 parts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another program, or takes no normalized images; it
            belongs to another backend; or its backend does not run here.
    """
    name = backend_of(path)
    if name is None or backend not in (AUTO, name):
        raise ValueError(f"{path} is an exported file, which {backend} does not run: give "
                         f"--backend {name}, or the checkpoint it was made from")
    row = BACKENDS[name]
    assert row is not None
    row.require(str(path), device, precision)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: make it with python -m tools.export --format "
                                f"{row.format}")
    try:
        run, stored = row.open(path, precision)
        facts = {key: json.loads(text) for key, text in stored.items()}
    except Exception as error:
        # the errors of the runtimes have no common base class
        raise ValueError(f"{path} is damaged, or not made by python -m tools.export "
                         f"({in_a_line(error, whole=False)}): export it again") from error
    _check(path, facts)
    run = _of_sizes(path, facts, run)
    runtime = Runtime(name, row.version(), run, verified=True,
                      returns_labels=facts["output"] == "labels")
    return ExportedFile(path, facts, runtime)


def _check(path: Path, facts: Mapping[str, Any]) -> None:
    """Raises ValueError if the metadata is incomplete or the file takes no normalized images."""
    missing = [name for name in NEEDED if name not in facts]
    if missing:
        raise ValueError(f"{path} does not say its {', '.join(missing)}: export it again with "
                         "python -m tools.export")
    if facts["input"] != "normalized":
        raise ValueError(f"{path} takes {facts['input']} images, but normalized images are needed: "
                         "export it with --input normalized")


def _of_sizes(path: Path, facts: Mapping[str, Any], run: Run) -> Run:
    """Returns the function of a file, which for a file of one size runs images one by one.

    It raises ValueError for images of another size.
    """
    if facts["dynamic"]:
        return run
    height, width = facts["size"]

    def run_each(images: Tensor) -> Tensor:
        if tuple(images.shape[-2:]) != (height, width):
            raise ValueError(f"{path} takes images of {height}x{width} only, not of "
                             f"{images.shape[-2]}x{images.shape[-1]}: export it with --dynamic, or "
                             f"give --crop_size {height}x{width} for larger images")
        return torch.cat([run(image) for image in images.split(1)])

    return run_each
