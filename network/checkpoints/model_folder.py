"""Model folders: a trained network as `config.json`, `model.safetensors` and `README.md`.

The form is that of transformers and segmentation_models_pytorch, which hubs of models show. No
pickle is read from a model folder, and only its config says what the tensors are.
"""
from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from network.checkpoints import WeightsError
from network.options import BUILD_OPTIONS

CONFIG, MODEL, CARD = "config.json", "model.safetensors", "README.md"
# The entries of `config.json` that mark it as one of this project.
LIBRARY, FORMAT = "sfsegnets", 1
# Files of other projects and of runs, which are refused in a folder without MODEL.
PICKLES = ("*.bin", "*.pth", "*.pt", "*.ckpt", "*.pkl")
PACK = "python -m tools.weights pack --snapshot FILE --out FOLDER"


@dataclass(frozen=True)
class ModelConfig:
    """The content of `config.json`.

    Attributes:
        arch: a name that `network.build` takes.
        classes: names of the K classes.
        colors: K colors (red, green, blue) in [0, 255], for pictures.
        options: the keyword options of `network.build`.
        dataset: name of the dataset of the training; None if it is unknown.
        description: content of the YAML file that describes the dataset; None for a named one.
        mean, std: of RGB in [0, 1], of the input.
        temperature: by which logits are divided for calibrated probabilities; None if it was not
            fitted.
        crop_size: (height, width) of the crops of the training; None if it is unknown.
        origin: where the weights come from, for the model card.
        notes: as `tools.weights convert --note` adds them; `license` is logged by the programs.

    Raises:
        WeightsError: a value has another type, or is out of range.
    """

    arch: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    description: Mapping[str, Any] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    temperature: float | None = None
    crop_size: tuple[int, int] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(isinstance(self.arch, str), "arch", "the name of an architecture", self.arch)
        _require(_is_list(self.classes) and len(self.classes) >= 2
                 and all(isinstance(name, str) for name in self.classes),
                 "classes", "a list of two or more names", self.classes)
        _require(_is_list(self.colors, len(self.classes)) and all(map(_is_color, self.colors)),
                 "colors", f"{len(self.classes)} colors [red, green, blue]", self.colors)
        _require(self.dataset is None or isinstance(self.dataset, str), "dataset", "a name",
                 self.dataset)
        for name in ("options", "origin", "notes", "description"):
            value = getattr(self, name)
            is_absent = name == "description" and value is None
            _require(is_absent or isinstance(value, Mapping), name, "an object", value)
        for name in self.options:
            _require(name in BUILD_OPTIONS, "options", f"some of {', '.join(BUILD_OPTIONS)}", name)
        for name in ("mean", "std"):
            value = getattr(self, name)
            _require(value is None or (_is_list(value, 3) and all(map(_is_number, value))), name,
                     "three numbers", value)
        _require(self.std is None or min(self.std) > 0, "std", "three numbers above 0", self.std)
        _require(self.temperature is None
                 or (_is_number(self.temperature) and self.temperature > 0),
                 "temperature", "a number above 0", self.temperature)
        _require(self.crop_size is None
                 or (_is_list(self.crop_size, 2) and all(map(_is_side, self.crop_size))),
                 "crop_size", "a height and a width in pixels", self.crop_size)

    @classmethod
    def read(cls, folder: str | Path) -> ModelConfig:
        """Reads the config of a model folder.

        Raises:
            FileNotFoundError: the folder has none.
            WeightsError: it is not JSON, is of another library or of a newer version, lacks an
                entry, or holds an invalid one.
        """
        path = Path(folder) / CONFIG
        try:
            content = _read_json(path)
            known = {entry.name for entry in fields(cls)}
            values = {name: _as_tuple(value) for name, value in content.items() if name in known}
            if isinstance(content.get("options"), dict):
                values["options"] = {name: _as_tuple(value)
                                     for name, value in content["options"].items()}
            return cls(**values)
        # a missing entry, or a number where a list must be
        except TypeError as error:
            raise WeightsError(f"{path} is incomplete ({error}): write the folder again with {PACK}"
                               ) from error
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error

    def text(self) -> str:
        """Returns the content of the file."""
        header = {"library_name": LIBRARY, "format": FORMAT}
        return json.dumps({**header, **asdict(self)}, indent=2) + "\n"

    def payload(self) -> dict[str, Any]:
        """Returns the entries of a checkpoint, without its tensors."""
        entries = {"arch": self.arch, "num_classes": len(self.classes),
                   "classes": list(self.classes), "dataset": self.dataset,
                   "description": self.description, "mean": self.mean, "std": self.std,
                   "temperature": self.temperature, "notes": dict(self.notes) or None,
                   "args": {**self.options, "crop_size": self.crop_size}}
        return {name: value for name, value in entries.items() if value is not None}


def model_file(folder: Path) -> Path | None:
    """Returns the weights in a model folder; None for a path that is no model folder.

    Raises:
        WeightsError: the folder lacks its config or its weights, or its config is invalid.
    """
    has_config, has_model = (folder / CONFIG).is_file(), (folder / MODEL).is_file()
    if not (has_config or has_model):
        return None
    if not has_config:
        raise WeightsError(f"{folder} holds {MODEL} without {CONFIG}, which says what network it "
                           f"is: copy that file too, or name the file {folder / MODEL} and its "
                           "architecture.")
    ModelConfig.read(folder)
    if not has_model:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        held = f"{pickles[0]}, a pickle, but no {MODEL}" if pickles else f"no {MODEL}"
        raise WeightsError(f"{folder} holds {held}: weights of a model folder are read from "
                           f"safetensors only. Write it with {PACK}")
    return folder / MODEL


def payload_beside(path: Path) -> dict[str, Any]:
    """Returns the entries of the config beside a file of weights.

    They are empty for a file that is not called `model.safetensors`, and beside a config of
    another library, such as that of a backbone in timm's cache.

    Raises:
        WeightsError: the config is invalid.
    """
    config = path.parent / CONFIG
    if path.name != MODEL or not config.is_file() or _is_foreign(config):
        return {}
    return ModelConfig.read(path.parent).payload()


def _is_foreign(path: Path) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("library_name") != LIBRARY
    except (ValueError, AttributeError):
        return False


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a config. Raises WeightsError if it is not one of this project."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"it is not JSON ({error}): copy or download it again") from error
    if not isinstance(content, dict) or content.get("library_name") != LIBRARY:
        raise WeightsError("it describes a model of another library, which does not run here: "
                           f'its "library_name" is not "{LIBRARY}"')
    if not isinstance(content.get("format"), int) or not 1 <= content["format"] <= FORMAT:
        raise WeightsError(f"its format is {content.get('format')!r}, and this version reads 1 to "
                           f"{FORMAT}: update the checkout")
    return content


def _as_tuple(value: Any) -> Any:
    """Returns the lists of JSON as tuples."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _is_list(value: Any, length: int | None = None) -> bool:
    return isinstance(value, tuple | list) and length in (None, len(value))


def _is_side(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_color(value: Any) -> bool:
    return (_is_list(value, 3)
            and all(isinstance(channel, int) and 0 <= channel <= 255 for channel in value))


def _require(is_valid: bool, name: str, kind: str, value: object) -> None:
    if not is_valid:
        raise WeightsError(f"{name} must be {kind}, not {str(value)[:80]}")
