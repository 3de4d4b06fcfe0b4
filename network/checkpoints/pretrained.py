"""`from_pretrained` and `save_pretrained`: networks from and to model folders, here or on a hub."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from network.checkpoints import WeightsError
from network.checkpoints.files import write_tensors
from network.checkpoints.keys import class_count
from network.checkpoints.model_folder import CONFIG, MODEL, PACK, ModelConfig, model_file
from network.checkpoints.paths import shipped
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from network.model import SceneParser

# The files that are downloaded from a hub: no pickle, no code.
MODEL_FILES = (CONFIG, MODEL)
EXTRA = "pip install '.[hub]'"
# Not a path such as ../model.
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def from_pretrained(folder_or_hub_name: str | Path, *, revision: str | None = None) -> SceneParser:
    """Returns a trained network in evaluation mode, without auxiliary heads.

    `net.config` is its `ModelConfig`: classes, colors and more; `net.normalization` the mean and
    std of its input.

    Args:
        folder_or_hub_name: a model folder, as `save_pretrained` and `tools.weights pack` write it;
            or, if there is no such folder, the name of a shipped network (see `paths.shipped`),
            which has no config, or USER/NAME on the Hugging Face hub.
        revision: branch, tag or commit on the hub.

    Raises:
        FileNotFoundError: there is no such folder, and it cannot be a name on the hub.
        WeightsError: the folder lacks its config or its `model.safetensors`, one of them is damaged
            or does not fit the other, or the download failed.
    """
    folder = Path(folder_or_hub_name)
    if not folder.is_dir() and folder_or_hub_name in shipped():
        return Snapshot(folder_or_hub_name).build_network()
    if not folder.is_dir():
        folder = download(str(folder_or_hub_name), revision)
    path = model_file(folder)
    if path is None:
        raise WeightsError(f"{folder} holds no {CONFIG} and no {MODEL}, so it is no model folder: "
                           f"write one with {PACK}")
    config = ModelConfig.read(folder)
    net = Snapshot(path).build_network(len(config.classes))
    net.config = config
    return net


def save_pretrained(net: SceneParser, folder: str | Path, config: ModelConfig) -> None:
    """Writes `config.json` and `model.safetensors`, which `from_pretrained` reads.

    Args:
        net: its normalization is written, in place of that of the config.
        folder: is made if it does not exist; the files of an earlier network are replaced.
        config: of the architecture and the classes of `net`.

    Raises:
        WeightsError: the config has another number of classes than the network.
        ImportError: the package safetensors is not installed.
        OSError: the folder cannot be written.
    """
    tensors = published_state_dict(net)
    if class_count(tensors) != len(config.classes):
        raise WeightsError(f"the network has {class_count(tensors)} classes, but its config names "
                           f"{len(config.classes)}: give the config of this network")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values: Mapping[str, Any] = {**vars(config), **net.normalization._asdict()}
    # Written beside and renamed: an interrupted call leaves no file that is cut.
    temporary = [folder / f"{name}.tmp" for name in MODEL_FILES]
    temporary[0].write_text(ModelConfig(**values).text(), encoding="utf-8")
    write_tensors(tensors, temporary[1])
    for path in temporary:
        path.replace(path.with_suffix(""))


def download(name: str, revision: str | None = None) -> Path:
    """Downloads the config and the weights of a network, and nothing else, to the hub's cache.

    Args:
        name: USER/NAME.

    Raises:
        FileNotFoundError: the name has another form.
        WeightsError: huggingface_hub cannot be imported, or the download failed.
    """
    if not _HUB_NAME.fullmatch(name):
        names = ", ".join(shipped()) or "none"
        raise FileNotFoundError(f"there is no folder {name}: give a model folder, a shipped "
                                f"network ({names}), or USER/NAME of a network on the Hugging "
                                "Face hub")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    # a broken package may raise an error of any type
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "huggingface_hub"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        state = f"not installed: {EXTRA}" if missing else (
            f"installed but cannot be imported ({reason}): pip install --force-reinstall --no-deps "
            "huggingface_hub")
        raise WeightsError(f"there is no folder {name}, and the hub needs huggingface_hub, which "
                           f"is {state}") from error
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*MODEL_FILES]))
    # the bases are OSError and every error of the HTTP library, such as a missing connection
    except (*HfHubHTTPError.__bases__, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"there is no folder {name}, and it cannot be downloaded from the hub "
                           f"({type(error).__name__}: {reason}): check the name, the connection "
                           "and, for a private network, the login") from error
