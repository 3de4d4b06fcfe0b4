from __future__ import annotations

from pathlib import Path

import pytest
import torch

from network.checkpoints import paths, weights
from network.checkpoints.paths import checkpoint_path, shipped


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for pretrained_models/ with one network; the working folder is beside it."""
    folder, work = tmp_path / "pretrained_models", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    (folder / "street_net.safetensors").touch()
    (folder / "resnet18-deep-stem-pytorch.pth").touch()
    monkeypatch.setattr(shipped, "__defaults__", (folder,))
    monkeypatch.chdir(work)
    return folder


def test_shipped_networks_are_the_safetensors_files(pretrained: Path) -> None:
    assert shipped() == {"street_net": pretrained / "street_net.safetensors"}


def test_a_name_stands_for_a_shipped_network(pretrained: Path) -> None:
    assert checkpoint_path("street_net") == pretrained / "street_net.safetensors"
    assert checkpoint_path("other_net") == Path("other_net")
    assert checkpoint_path("folder/street_net") == Path("folder/street_net")


def test_a_file_or_folder_of_the_same_name_wins(pretrained: Path) -> None:
    Path("street_net").mkdir()
    torch.save({}, "street_net/last.pth")
    assert checkpoint_path("street_net") == Path("street_net/last.pth")


def test_a_folder_stands_for_its_best_last_or_newest_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/step_9.pth", "checkpoints/step_10.pth", "last.pth", "best.pth"):
        (tmp_path / name).touch()
        assert checkpoint_path(tmp_path) == tmp_path / name


def test_the_error_of_an_unknown_name_lists_the_shipped_networks(
    pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at other_net: .*\(street_net\)"):
        weights.read("other_net")


def test_the_folder_is_that_of_the_checkout() -> None:
    assert Path(__file__).resolve().parents[3] / "pretrained_models" == paths.PRETRAINED


SHIPPED = ("sfnet_lite_efflite0_camvid", "sfnet_lite_efflite0_camvid_upsampled",
           "sfnet_lite_efflite0_streets")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_states_its_license_score_and_training(name: str) -> None:
    path = shipped()[name]
    assert path.stat().st_size < 10_000_000
    payload = weights.read(name)
    assert {"license", "score", "training"} <= set(payload["notes"])
    launcher = payload["notes"]["training"].split()[1]
    assert (paths.PRETRAINED.parent / launcher).is_file()
    terms = (paths.PRETRAINED / "LICENSE-WEIGHTS").read_text(encoding="utf-8")
    assert f"{path.name}\n----" in terms
    assert payload["mean"] == payload["std"] == [0.5, 0.5, 0.5]


def test_no_other_network_is_shipped() -> None:
    assert set(shipped()) == set(SHIPPED)
