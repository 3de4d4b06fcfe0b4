from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import network
from network.checkpoints.model_folder import CONFIG, MODEL, model_file, payload_beside
from network.checkpoints.weights import WeightsError

CONTENT = {
    "library_name": "sfsegnets", "format": 1, "arch": "sfnet_dfnetv1", "classes": ["road", "sky"],
    "colors": [[128, 64, 128], [70, 130, 180]], "options": {"fam_levels": [0, 1]},
    "dataset": "toys", "notes": {"license": "research"}, "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2], "temperature": 1.5, "crop_size": [64, 96],
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / CONFIG).write_text(json.dumps({**CONTENT, **changes}))
    return folder


def test_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = network.ModelConfig.read(write(tmp_path))
    (tmp_path / CONFIG).write_text(config.text())
    assert network.ModelConfig.read(tmp_path) == config
    assert config.colors == ((128, 64, 128), (70, 130, 180))
    assert config.payload() == {
        "arch": "sfnet_dfnetv1", "num_classes": 2, "classes": ["road", "sky"], "dataset": "toys",
        "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "temperature": 1.5,
        "args": {"fam_levels": (0, 1), "crop_size": (64, 96)}, "notes": {"license": "research"},
    }


@pytest.mark.parametrize(("changes", "message"), [
    ({"library_name": "transformers"}, "describes a model of another library"),
    ({"format": 2}, "its format is 2, and this version reads 1 to 1"),
    ({"classes": ["road"]}, "classes must be a list of two or more names"),
    ({"colors": [[1, 2, 3]]}, r"colors must be 2 colors \[red, green, blue\]"),
    ({"colors": [[1, 2, 3], [1, 2, 300]]}, "colors must be 2 colors"),
    ({"mean": [1, 2]}, "mean must be three numbers"),
    ({"std": [0.1, 0.1, 0]}, "std must be three numbers above 0"),
    ({"temperature": 0}, "temperature must be a number above 0"),
    ({"options": 3}, "options must be an object"),
    ({"options": {"wings": 2}}, "options must be some of fam_levels, .*, not wings"),
    ({"arch": 3}, "arch must be the name of an architecture"),
    ({"classes": "ab"}, "classes must be a list of two or more names"),
    ({"classes": 2}, "classes must be a list of two or more names"),
    ({"colors": 2}, "colors must be 2 colors"),
    ({"mean": 0.5}, "mean must be three numbers"),
    ({"dataset": 3}, "dataset must be a name"),
    ({"description": "toys"}, "description must be an object"),
    ({"crop_size": 64}, "crop_size must be a height and a width in pixels"),
    ({"crop_size": [64, 0]}, "crop_size must be a height and a width in pixels"),
])
def test_an_invalid_config_is_refused(tmp_path: Path, changes: dict[str, Any],
                                      message: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(WeightsError, match=message) as error:
        network.ModelConfig.read(tmp_path)
    assert str(tmp_path / CONFIG) in str(error.value)


def test_a_damaged_or_incomplete_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"library_name": "sfs')
    with pytest.raises(WeightsError, match="it is not JSON"):
        network.ModelConfig.read(tmp_path)
    (tmp_path / CONFIG).write_text('{"library_name": "sfsegnets", "format": 1}')
    with pytest.raises(WeightsError, match=r"is incomplete .*'arch'"):
        network.ModelConfig.read(tmp_path)


def test_a_folder_needs_both_files(tmp_path: Path) -> None:
    assert model_file(tmp_path) is None
    (tmp_path / MODEL).write_bytes(b"")
    with pytest.raises(WeightsError, match=r"model\.safetensors without config\.json"):
        model_file(tmp_path)
    write(tmp_path)
    assert model_file(tmp_path) == tmp_path / MODEL
    (tmp_path / MODEL).unlink()
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        model_file(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match=r"holds pytorch_model\.bin, a pickle, but no model"):
        model_file(tmp_path)


def test_only_our_own_config_beside_the_weights_counts(tmp_path: Path) -> None:
    assert payload_beside(tmp_path / MODEL) == {}
    write(tmp_path)
    assert payload_beside(tmp_path / MODEL)["arch"] == "sfnet_dfnetv1"
    assert payload_beside(tmp_path / "other.safetensors") == {}
    # as in timm's cache
    (tmp_path / CONFIG).write_text('{"architecture": "resnet18"}')
    assert payload_beside(tmp_path / MODEL) == {}
