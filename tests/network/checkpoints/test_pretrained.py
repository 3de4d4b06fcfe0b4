from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import network
from network.checkpoints.files import write_safetensors
from network.checkpoints.model_folder import CONFIG, MODEL, ModelConfig
from network.checkpoints.paths import shipped
from network.checkpoints.pretrained import download
from network.checkpoints.snapshot import Snapshot, snapshot_path
from network.checkpoints.weights import WeightsError, published_state_dict
from network.model import SceneParser
from network.normalization import Normalization

CONFIG_OF_NET = ModelConfig(
    arch="sfnet_dfnetv1", classes=("road", "car", "sky"), colors=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
    options={"context": "sum"}, dataset="toys", crop_size=(64, 96))


@pytest.fixture(scope="module")
def net() -> SceneParser:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 3, context="sum").eval()
    net.normalization = Normalization((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    return net


@pytest.fixture(scope="module")
def packed(net: SceneParser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    network.save_pretrained(net, folder, CONFIG_OF_NET)
    return folder


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(packed, tmp_path / "model")


def test_a_network_comes_back_with_its_options_and_its_normalization(net: SceneParser,
                                                                     packed: Path) -> None:
    assert sorted(path.name for path in packed.iterdir()) == [CONFIG, MODEL]
    loaded = network.from_pretrained(packed)
    state = published_state_dict(net)
    assert all(torch.equal(value, state[key])
               for key, value in published_state_dict(loaded).items())
    assert not loaded.training
    assert loaded.normalization == net.normalization
    assert loaded.config == replace(CONFIG_OF_NET, **net.normalization._asdict())
    assert net.config is None


def test_a_folder_is_a_snapshot(packed: Path) -> None:
    assert snapshot_path(str(packed)) == packed / MODEL
    snapshot = Snapshot(packed)
    assert (snapshot.arch, snapshot.dataset, snapshot.options) == ("sfnet_dfnetv1", "toys",
                                                                   {"context": "sum"})
    assert snapshot.network("toys", CONFIG_OF_NET.classes).normalization.mean == (0.5, 0.4, 0.3)
    # training starts from it
    fresh = network.build("sfnet_dfnetv1", 3, context="sum")
    assert network.weights.load(fresh, packed).loaded


def test_truncated_weights_and_pickles_are_refused(folder: Path, net: SceneParser) -> None:
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"truncated or damaged \(5,000 bytes\)"):
        network.from_pretrained(folder)
    torch.save(net.state_dict(), folder / MODEL)
    with pytest.raises(WeightsError, match="truncated or damaged"):
        network.from_pretrained(folder)
    (folder / MODEL).rename(folder / "best.pth")
    with pytest.raises(WeightsError, match=r"best\.pth, a pickle"):
        network.from_pretrained(folder)


@pytest.mark.parametrize(("change", "message"), [
    ({"arch": "sfnet_dfnetv2"}, "says that it is sfnet_dfnetv2, but its tensors look like those of "
                                "sfnet_dfnetv1"),
    ({"arch": "unet"}, "unknown architecture 'unet'"),
    ({"options": {}}, "with other options"),
    ({"classes": ("a", "b"), "colors": ((1, 2, 3), (4, 5, 6))}, "another number of classes"),
])
def test_a_config_of_another_network_is_refused(folder: Path, change: dict[str, object],
                                                message: str) -> None:
    config = replace(CONFIG_OF_NET, **change)
    (folder / CONFIG).write_text(config.text())
    with pytest.raises(ValueError, match=message):
        network.from_pretrained(folder)


def test_the_config_counts_not_the_header_of_the_tensors(folder: Path, net: SceneParser) -> None:
    write_safetensors({"state_dict": published_state_dict(net), "arch": "sfnet_dfnetv2",
                       "temperature": 9.0}, folder / MODEL)
    config = replace(CONFIG_OF_NET, temperature=1.5)
    (folder / CONFIG).write_text(config.text())
    assert network.from_pretrained(folder).config == config
    assert Snapshot(folder).temperature == 1.5


def test_a_config_of_other_classes_is_not_saved(net: SceneParser, tmp_path: Path) -> None:
    config = replace(CONFIG_OF_NET, classes=("a", "b"), colors=((1, 2, 3), (4, 5, 6)))
    with pytest.raises(WeightsError, match="the network has 3 classes, but its config names 2"):
        network.save_pretrained(net, tmp_path / "model", config)
    assert not (tmp_path / "model").exists()


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no config\.json and no model\.safetensors"):
        network.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="or USER/NAME of a network"):
        network.from_pretrained(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"there is no folder \.\./missing: give a model"):
        network.from_pretrained("../missing")


def test_a_name_stands_for_a_shipped_network(net: SceneParser, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    payload = {**CONFIG_OF_NET.payload(), "state_dict": published_state_dict(net)}
    write_safetensors(payload, tmp_path / "street_net.safetensors")
    monkeypatch.setattr(shipped, "__defaults__", (tmp_path,))
    monkeypatch.chdir(tmp_path)
    loaded = network.from_pretrained("street_net")
    state = published_state_dict(net)
    assert all(torch.equal(value, state[key])
               for key, value in published_state_dict(loaded).items())
    assert loaded.config is None
    with pytest.raises(FileNotFoundError, match=r"a shipped network \(street_net\)"):
        network.from_pretrained("other_net")


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"is not installed: pip install '\.\[hub\]'"):
        download("somebody/a-network")


def test_a_broken_package_of_the_hub_is_told_in_one_line(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise RuntimeError('another Python')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(WeightsError, match=r"which is installed but cannot be imported "
                                           r"\(RuntimeError: another Python\): pip install"):
        download("somebody/a-network")
